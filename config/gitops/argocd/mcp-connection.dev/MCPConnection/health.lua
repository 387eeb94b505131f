-- A connection that waits for a person is Suspended, whatever else there is to say; one whose token is valid is Healthy, and its
-- message says whether something wants attention.
local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "Waiting for the operator to see the new spec"
  return hs
end

local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local ready = found["Ready"]
if ready == nil then
  return hs
end

hs.message = ready.reason .. ": " .. ready.message
if ready.status == "True" then
  hs.status = "Healthy"
elseif obj.status.authorizationURL ~= nil or ready.reason == "Suspended" then
  hs.status = "Suspended"
elseif found["Stalled"] ~= nil or ready.reason == "TokenExpired" then
  hs.status = "Degraded"
end
return hs
