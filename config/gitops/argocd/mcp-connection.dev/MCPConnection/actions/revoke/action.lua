-- The grant is revoked and the token Secret emptied now, as after a leak; then a person is asked for consent. A new value is one request.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mcp-connection.dev/revoke"] = "argocd-" .. os.date("!%Y-%m-%dT%XZ")
return obj
