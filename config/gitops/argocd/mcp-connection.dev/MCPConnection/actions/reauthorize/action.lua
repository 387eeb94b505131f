-- A person is asked for a new consent; the token stays until then. A new value is one request.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mcp-connection.dev/reauthorize"] = "argocd-" .. os.date("!%Y-%m-%dT%XZ")
return obj
