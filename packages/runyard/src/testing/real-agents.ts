import { fileURLToPath } from "node:url";
import { resolveProfile } from "../agents/profiles/profiles.ts";
import type { AgentProfile } from "../agents/profiles/profile.ts";
import { sandboxDriver } from "../sandbox/drivers.ts";
import type { ScriptedModel } from "./scripted-model.ts";

const folder = (name: string): string => fileURLToPath(new URL(`../../../../test/agents/${name}`, import.meta.url));

/** The programs that are pinned below test/agents, and none that somebody has on this machine. */
export const PINNED_AGENTS: Readonly<Record<string, string>> = {
  RUNYARD_OPENCODE: folder(""),
  RUNYARD_CODEX_ACP: folder("codex"),
  RUNYARD_CODEX: folder("codex"),
  RUNYARD_GEMINI: folder("gemini"),
  RUNYARD_CLAUDE: folder("claude"),
};

/** A real agent program that tests run. */
export interface RealAgent {
  readonly name: string;
  readonly profile: AgentProfile;
  readonly version: string | null;
  /** Why it is not tested here; null: it is. */
  readonly reason: string | null;
}

const FULL_ONLY = "only in the full tests (npm run test:full)";
const ASKED_ONLY = "Claude Code is proprietary and takes 391 MB: set RUNYARD_TEST_CLAUDE=1 to have it installed and tested";

/** The agents of these names, as far as they can be tested here and now: in the full tests. */
export async function realAgents(names: readonly string[]): Promise<RealAgent[]> {
  const sandbox = await sandboxDriver("bwrap").probe();
  const isFull = Boolean(process.env["RUNYARD_TEST_FULL"]);
  return Promise.all(
    names.map(async (name) => {
      const profile = resolveProfile(name, PINNED_AGENTS) as AgentProfile;
      const { version, reason } = await profile.probe(PINNED_AGENTS);
      const notNow = isFull ? null : FULL_ONLY;
      const notAsked = name === "claude" && !process.env["RUNYARD_TEST_CLAUDE"] ? ASKED_ONLY : null;
      return { name, profile, version, reason: notNow ?? notAsked ?? reason ?? sandbox.reason };
    }),
  );
}

/** What connects a server to a scripted model as the provider of every API. */
export function scriptedProviders({ url, root }: Pick<ScriptedModel, "url" | "root">): Record<string, string> {
  const key = "sk-decoy-provider-key";
  return {
    OPENAI_BASE_URL: url,
    OPENAI_API_KEY: key,
    RUNYARD_MODEL: "scripted-1",
    ANTHROPIC_BASE_URL: root,
    ANTHROPIC_API_KEY: key,
    GOOGLE_GEMINI_BASE_URL: root,
    GEMINI_API_KEY: key,
  };
}
