import type { ProfileQuirks } from "../acp/state.ts";
import type { AgentLogin, OwnLogin } from "./own-login.ts";

/** What a profile needs to know of a run. All paths are as the agent sees them. */
export interface ProfileContext {
  readonly workspace: string;
  readonly home: string;
  /** The gateway without `/v1`, for example `http://127.0.0.1:3128`. */
  readonly gatewayUrl: string;
  /** The run's token for the gateway: the only key that an agent gets. */
  readonly token: string;
  readonly model: string | null;
  /** The user's words for the profile `custom`, else null. */
  readonly command: readonly string[] | null;
  /** Names of the MCP servers that it is given; left out: none. */
  readonly mcpServers?: readonly string[];
  /** The login that it calls with in place of the token, which then goes into a header of its own; left out: none. */
  readonly login?: AgentLogin | null;
  /** The bundled built-in agent. */
  readonly builtinProgram: string;
  readonly nodeProgram: string;
}

/** A file for the agent's home; `path` is relative to it. */
interface HomeFile {
  readonly path: string;
  readonly content: string;
}

/** What an agent needs of the host beyond the system: seen inside at the same path. */
interface ProfileMount {
  readonly source: string;
  readonly target: string;
  readonly mode: "ro";
}

export interface ProfileProbe {
  readonly installed: boolean;
  readonly version: string | null;
  /** The program on the host; null where there is none, or it is not ours to say. */
  readonly program: string | null;
  /** Why not installed, and what to do about it; null when installed. */
  readonly reason: string | null;
}

type ProviderApi = "openai" | "anthropic" | "gemini";

/** Those that serve chat completions. */
export const CHAT_APIS: readonly ProviderApi[] = ["openai", "anthropic", "gemini"];

/** How an agent program is launched and spoken to. */
export interface AgentProfile {
  readonly name: string;
  readonly quirks: ProfileQuirks;
  /** The families of APIs whose providers can answer its model calls, the usual one first; none: it may do without a model. */
  readonly apis: readonly ProviderApi[];
  /** It knows models by name, and takes one where a run names none. */
  readonly picksModel: boolean;
  /** The one command that installs it; null for what is always there. */
  readonly install: string | null;
  /** Where its makers keep a login of the user's, below their home; null: nowhere. */
  readonly loginPlace: string | null;
  /** How runs come by that login; or, in a plain sentence, why they cannot have it. */
  readonly ownLogin: OwnLogin | string;
  /** Argument words; throws an Error with a plain sentence when the program is not on this machine. */
  argv(c: ProfileContext): string[];
  /** The whole environment but for `PATH`, which is the sandbox's to make: nothing is inherited. */
  env(c: ProfileContext): Record<string, string>;
  homeFiles(c: ProfileContext): HomeFile[];
  mounts(): ProfileMount[];
  /** How long it is waited for once it is told to leave, in milliseconds; default 5,000. Less for one that does nothing more then. */
  readonly leaveMs?: number;
  /** Looks for the program on this machine, by `PATH` and the profile's own variables. */
  probe(env: NodeJS.ProcessEnv): Promise<ProfileProbe>;
}

/** What every agent gets: a home of its own, and a locale in which everything can be said. */
export function baseEnv(c: ProfileContext): Record<string, string> {
  return { HOME: c.home, LANG: "C.UTF-8" };
}

/** The gateway in the variables that most programs know. */
export function openaiEnv(c: ProfileContext): Record<string, string> {
  const model: Record<string, string> = c.model === null ? {} : { RUNYARD_MODEL: c.model };
  return { OPENAI_BASE_URL: `${c.gatewayUrl}/v1`, OPENAI_API_KEY: c.token, ...model };
}
