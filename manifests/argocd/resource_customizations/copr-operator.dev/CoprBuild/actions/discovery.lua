local ended = { succeeded = true, failed = true, canceled = true, skipped = true }
local has_ended = obj.status ~= nil and ended[obj.status.state] == true
local goes_away = obj.metadata.deletionTimestamp ~= nil

-- A source that made no SRPM leaves nothing to run again.
local failed_later = false
if has_ended and obj.status.source ~= nil and obj.status.source.srpm ~= nil then
  for _, chroot in ipairs(obj.status.chroots or {}) do
    failed_later = failed_later or chroot.state == "failed"
  end
end

local actions = {}
actions["cancel"] = {
  ["displayName"] = "Cancel",
  ["iconClass"] = "fa fa-fw fa-stop",
  ["disabled"] = has_ended or goes_away or obj.spec.cancel == true,
}
actions["rerun"] = {
  ["displayName"] = "Rerun failed chroots",
  ["iconClass"] = "fa fa-fw fa-redo",
  ["disabled"] = not failed_later or goes_away,
}
actions["rebuild"] = {
  ["displayName"] = "Build again",
  ["iconClass"] = "fa fa-fw fa-plus",
  ["disabled"] = not has_ended or goes_away,
}
return actions
