-- The same build once more, source and all, as a new object: a build is never changed. It belongs to the one it
-- repeats, so it is shown below it and goes with it. It has no label or annotation of it: Argo CD would take it for a
-- part of the application that git does not have, and prune it.
local os = require("os")

-- Without empty tables: what was a map would become a list.
local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  if next(value) == nil then
    return nil
  end
  local copied = {}
  for key, member in pairs(value) do
    copied[key] = copy(member)
  end
  return copied
end

local build = {
  apiVersion = obj.apiVersion,
  kind = obj.kind,
  metadata = {
    name = obj.metadata.name .. "-" .. os.date("!%Y%m%d%H%M%S"),
    namespace = obj.metadata.namespace,
    ownerReferences = {
      { apiVersion = obj.apiVersion, kind = obj.kind, name = obj.metadata.name, uid = obj.metadata.uid },
    },
  },
  spec = copy(obj.spec),
}
build.spec.cancel = nil
-- The batch it was in has ended.
build.spec.afterBuild = nil
build.spec.withBuild = nil
return { { operation = "create", resource = build } }
