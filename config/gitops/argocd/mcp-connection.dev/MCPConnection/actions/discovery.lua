-- A suspended connection makes no request, so refresh and reauthorize would only be remembered; revoke is done all the same.
local suspended = obj.spec.suspend == true
local actions = {}
actions["refresh"] = { ["disabled"] = suspended }
actions["reauthorize"] = { ["disabled"] = suspended }
actions["revoke"] = { ["disabled"] = false }
actions["suspend"] = { ["disabled"] = suspended }
actions["resume"] = { ["disabled"] = not suspended }
return actions
