-- The failed chroots once more, from the same SRPM, as a new object. See rebuild for what it belongs to.
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
build.spec.rerunOf = obj.metadata.name
build.spec.source = nil
-- All that have failed: what was asked for at first may name chroots that have not.
build.spec.chroots = nil
build.spec.excludeChroots = nil
-- The batch it was in has ended.
build.spec.afterBuild = nil
build.spec.withBuild = nil
return { { operation = "create", resource = build } }
