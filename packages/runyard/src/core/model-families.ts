/** Families of models by how their names begin: with the API that their makers speak. */
const FAMILIES = [
  [/^claude[-.]/i, "anthropic"],
  [/^(?:gemini|gemma)[-.]/i, "gemini"],
] as const;

/** The API of whoever makes models of that name; undefined where the name does not tell. */
export function makersApi(model: string): (typeof FAMILIES)[number][1] | undefined {
  return FAMILIES.find(([pattern]) => pattern.test(model))?.[1];
}
