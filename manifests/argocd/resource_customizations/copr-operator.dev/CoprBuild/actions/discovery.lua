local ended = { succeeded = true, failed = true, canceled = true, skipped = true }
local has_ended = obj.status ~= nil and ended[obj.status.state] == true
local goes_away = obj.metadata.deletionTimestamp ~= nil

local actions = {}
actions["cancel"] = {
  ["displayName"] = "Cancel",
  ["iconClass"] = "fa fa-fw fa-stop",
  ["disabled"] = has_ended or goes_away or obj.spec.cancel == true,
}
actions["rerun"] = {
  ["displayName"] = "Build again",
  ["iconClass"] = "fa fa-fw fa-redo",
  ["disabled"] = not has_ended or goes_away,
}
return actions
