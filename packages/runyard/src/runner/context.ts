import type { SandboxDriverName } from "@runyard/sdk/contract";
import type { AgentLogin } from "../agents/profiles/own-login.ts";
import type { AgentProfile } from "../agents/profiles/profile.ts";
import type { Wakes } from "../engine/wakes.ts";
import type { Gateway, Provider } from "../gateway/client.ts";
import type { GitHost } from "../git/host-git.ts";
import type { Home } from "../home.ts";
import type { SandboxDriver } from "../sandbox/driver.ts";
import type { Spawner } from "../sandbox/spawner.ts";
import type { Database } from "../store/database.ts";
import type { Vault } from "../store/vault.ts";
import type { RunnerLease } from "../store/runner-lease.ts";
import type { RunRow } from "../store/run-row.ts";

/** What executing runs takes; made once, by main. */
export interface RunnerContext {
  readonly db: Database;
  /** Encrypts secrets. */
  readonly vault: Vault;
  readonly wakes: Wakes;
  /** This runner's word that it lives. Without it, nothing is begun: somebody else may be about to. */
  readonly lease: Pick<RunnerLease, "whenHeld">;
  /** How often the store is looked at without being woken, in milliseconds. */
  readonly pollMs: number;
  readonly home: Home;
  readonly spawner: Spawner;
  /** Of the organization whose run is driven. */
  readonly git: GitHost;
  readonly gitOf: (orgId: string) => GitHost;
  readonly gateway: Gateway;
  readonly driver: (name: SandboxDriverName) => SandboxDriver;
  readonly profile: (name: string) => AgentProfile | undefined;
  /** The bundled built-in agent, on the host. */
  readonly builtinAgentProgram: string;
  /** The bundled MCP server with the tools that agents get, on the host. */
  readonly runToolsProgram: string;
  /** Memory that the sandbox of a run can have here. */
  readonly hostMemoryBytes: () => number;
  /** What those of all of its runs may have together. */
  readonly memoryBudgetBytes: number;
  /** The token with which a run's agent is known to the gateway; the same after a restart. */
  readonly gatewayToken: (run: Pick<RunRow, "id" | "attempt">) => string;
  /** The login that a profile's program holds on this machine. Throws an Error with plain sentences where a run cannot begin with it. */
  readonly readLogin: (profile: string) => AgentLogin;
  /** What the subscription of that login is called, however old it is; null: that is not known. */
  readonly loginPlan: (profile: string) => string | null;
  /** Where calls with that login go. */
  readonly loginProvider: (profile: string) => Provider & { readonly apiKey: null };
  /** Networks of this host's surroundings in which hosts may be that runs are allowed to reach, as `10.0.0.0/8`. */
  readonly egressNetworks: readonly string[];
  /** How long an agent may take from its start until it has opened a session. */
  readonly agentStartMs: number;
  readonly now: () => number;
  readonly log: (level: "info" | "warn" | "error", message: string, detail?: Readonly<Record<string, unknown>>) => void;
  /** Aborted when no further runs are to be claimed; those in hand go on. */
  readonly draining: AbortSignal;
  /** Aborted when the server leaves; runs then live on without it. */
  readonly leaving: AbortSignal;
}
