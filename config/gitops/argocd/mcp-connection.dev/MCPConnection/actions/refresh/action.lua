-- The token is refreshed now. A new value is one request.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mcp-connection.dev/refresh"] = "argocd-" .. os.date("!%Y-%m-%dT%XZ")
return obj
