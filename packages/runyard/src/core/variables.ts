import type { Environment } from "@runyard/sdk/contract";

/** What one level (the organization, a repository, a saved agent, a run) gives to a run. */
export interface GivenVariables {
  readonly environment?: Environment | undefined;
  /** Names of secrets. */
  readonly secrets?: readonly string[] | undefined;
}

/**
 * What a run is given, of levels from the most general to the most special one: of two with one name the more special
 * counts, whether it is a plain value or a secret. What there is none of is left out.
 */
export function resolveVariables(levels: readonly GivenVariables[]): {
  readonly environment?: Environment;
  readonly secrets?: readonly string[];
} {
  const found = new Map<string, { readonly value: string } | "secret">();
  for (const { environment = {}, secrets = [] } of levels) {
    for (const [name, value] of Object.entries(environment)) found.set(name, { value });
    for (const name of secrets) found.set(name, "secret");
  }
  const environment: [string, string][] = [];
  const secrets: string[] = [];
  for (const [name, what] of found) {
    if (what === "secret") secrets.push(name);
    else environment.push([name, what.value]);
  }
  return {
    ...(environment.length > 0 && { environment: Object.fromEntries(environment) }),
    ...(secrets.length > 0 && { secrets }),
  };
}
