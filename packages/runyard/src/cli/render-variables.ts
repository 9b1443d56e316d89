import { shellWord } from "./output.ts";

/** Variables and names of secrets as rows; none where there are none, nor by servers that do not know of them. */
export function renderVariables(
  { environment = {}, secrets = [] }: { readonly environment?: Readonly<Record<string, string>>; readonly secrets?: readonly string[] },
  row: (name: string, text: string) => string,
): string[] {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${shellWord(value)}`);
  return [
    ...(variables.length > 0 ? [row("env", variables.join(" "))] : []),
    ...(secrets.length > 0 ? [row("secrets", secrets.join(", "))] : []),
  ];
}
