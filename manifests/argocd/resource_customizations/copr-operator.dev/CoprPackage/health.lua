-- By the conditions that kstatus reads: Stalled, Ready and Reconciling, once they are about the present spec.
local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Pending deletion"
  return hs
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local health = { Stalled = "Degraded", Ready = "Healthy", Reconciling = "Progressing" }
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.status == "True" and health[condition.type] ~= nil then
    hs.status = health[condition.type]
    hs.message = condition.message ~= "" and condition.message or condition.reason
  end
end
return hs
