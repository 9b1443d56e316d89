import type { AgentProfile } from "./profile.ts";

/** Whose key an agent's model calls are paid with; it stays outside of the sandbox. */
export interface Credential {
  readonly provider: string;
  /** The variable that holds the key, or the file; null: the provider wants none. */
  readonly from: string | null;
}

/** The variables that connect a provider of that API. */
export const USUAL_KEYS = { openai: "OPENAI_API_KEY", anthropic: "ANTHROPIC_API_KEY", gemini: "GEMINI_API_KEY" } as const;

interface KnownProvider {
  readonly name: string;
  readonly api: string;
  readonly apiKey: string | null;
}

/** The first provider whose API the agent speaks, as the gateway takes them; null: there is none. */
export function credentialOf(
  { apis }: Pick<AgentProfile, "apis">,
  { providers, env }: { readonly providers: readonly KnownProvider[]; readonly env: NodeJS.ProcessEnv },
): Credential | null {
  const provider = providers.find(({ api }) => apis.some((known) => known === api));
  if (provider === undefined) return null;
  const { name, apiKey } = provider;
  const variable = Object.keys(env).find((key) => /_(KEY|TOKEN)$/.test(key) && env[key]?.trim() === apiKey);
  return { provider: name, from: apiKey === null ? null : (variable ?? "providers.json") };
}
