import { builtinProfile } from "./builtin.ts";
import { claudeProfile } from "./claude.ts";
import { codexProfile } from "./codex.ts";
import { customProfile } from "./custom.ts";
import { geminiProfile } from "./gemini.ts";
import { opencodeProfile } from "./opencode.ts";
import type { AgentProfile } from "./profile.ts";

const PROFILES: ReadonlyMap<string, (env: NodeJS.ProcessEnv) => AgentProfile> = new Map([
  ["builtin", () => builtinProfile],
  ["claude", claudeProfile],
  ["codex", codexProfile],
  ["opencode", opencodeProfile],
  ["gemini", geminiProfile],
  ["custom", () => customProfile],
]);

/** The profile of that name, or undefined; `env` says where programs are looked for. */
export function resolveProfile(name: string, env: NodeJS.ProcessEnv = process.env): AgentProfile | undefined {
  return PROFILES.get(name)?.(env);
}

/** The profiles of programs that are known by name: all but that of the user's own. */
export function knownPrograms(env: NodeJS.ProcessEnv = process.env): AgentProfile[] {
  return [...PROFILES.values()].map((make) => make(env)).filter(({ name }) => name !== "custom");
}

/** Names of all profiles, the default first. */
export function profileNames(): string[] {
  return [...PROFILES.keys()];
}
