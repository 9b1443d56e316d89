// A module resolve hook: packages of this workspace export their sources under this condition.
export function resolve(specifier, context, nextResolve) {
  return nextResolve(specifier, { ...context, conditions: [...context.conditions, "runyard-source"] });
}
