import { builtinProfile } from "./builtin.ts";
import { codexProfile } from "./codex.ts";
import { customProfile } from "./custom.ts";
import { opencodeProfile } from "./opencode.ts";
import type { AgentProfile } from "./profile.ts";

const PROFILES: ReadonlyMap<string, (env: NodeJS.ProcessEnv) => AgentProfile> = new Map([
  ["builtin", () => builtinProfile],
  ["opencode", opencodeProfile],
  ["codex", codexProfile],
  ["custom", () => customProfile],
]);

/** The profile of that name, or undefined; `env` says where programs are looked for. */
export function resolveProfile(name: string, env: NodeJS.ProcessEnv = process.env): AgentProfile | undefined {
  return PROFILES.get(name)?.(env);
}

/** Names of all profiles, the default first. */
export function profileNames(): string[] {
  return [...PROFILES.keys()];
}
