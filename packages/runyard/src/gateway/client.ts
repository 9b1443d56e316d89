import { setTimeout as wait } from "node:timers/promises";
import type { z } from "zod";
import type { Home } from "../home.ts";
import { type HomeAuthority, homeAuthority } from "./authority.ts";
import { controlClient } from "./control-client.ts";
import { exchangesFile, privateSockets } from "./files.ts";
import { keepGateway, type Told } from "./keeper.ts";
import { livingLives } from "./lives.ts";
import { identifyProcess, isAlive, type ProcessIdentity, signalProcess } from "../process-identity.ts";
import {
  type GatewayHealth,
  problemsOf,
  type Provider,
  type ProviderModels,
  providersSchema,
  runStateSchema,
  type RunToRegister,
} from "./protocol.ts";

export type { RemoteMcpServer } from "./mcp-server.ts";
export type { GatewayHealth, Provider, ProviderModels, RunBudget, RunToRegister } from "./protocol.ts";

const STOP_STEP_MS = 3_000;
const STOP_POLL_MS = 20;
const MAX_STOP_ROUNDS = 3;

/** The gateway of this host, as the server sees it. */
export interface Gateway {
  /** The directory that sandboxes mount. */
  readonly doorDir: string;
  /** On 127.0.0.1, for agents without isolation. */
  tcpPort(): number;
  health(): Promise<GatewayHealth>;
  /** Where model calls go; none: nowhere. */
  setProviders(providers: readonly Provider[]): Promise<void>;
  /** What each provider says of its models; kept by the gateway for some minutes. */
  models(): Promise<ProviderModels[]>;
  /** The authority by which it shows itself to programs of runs with `injected`; made when it is first asked for. Throws an Error with plain sentences. */
  authority(): HomeAuthority;
  /** Lets a run call. One with `replay` is answered from that recording, and nobody is called for it. */
  openRun(run: RunToRegister): Promise<void>;
  /** Makes the run's token worthless and breaks off what it has under way. */
  closeRun(runId: string): Promise<void>;
  /** The journal of a run's model calls (exchange-journal.ts); made with its first call. */
  exchangesFile(runId: string): string;
  /** Lets go of the gateway, which lives on. */
  close(): void;
}

export interface OpenGatewayOptions {
  readonly home: Home;
  /** The bundled program. */
  readonly program: string;
  readonly onLog?: (message: string) => void;
  /** Certificates, in PEM, of authorities that it trusts beside the system's, where programs of runs reach hosts through it. */
  readonly extraCertificates?: string | null;
  /** Arguments for Node, so that tests can run sources. */
  readonly execArgv?: readonly string[];
}

/**
 * Finds this host's gateway or starts it. One that was started from another program is replaced without
 * a gap: its calls go on to their ends, and the new one learns what it knew before it takes its name.
 * One that dies is brought back and told everything again that was said through this object.
 */
export async function openGateway(options: OpenGatewayOptions): Promise<Gateway> {
  const { home, program, execArgv = [], onLog = () => undefined } = options;
  const told: Told = { providers: undefined, runs: new Map() };
  const keeper = await keepGateway({ start: { home, program, execArgv }, told, onLog });
  return {
    doorDir: home.gatewayDoorDir,
    tcpPort: () => keeper.current().tcpPort ?? 0,
    health: () => controlClient(home.gatewayControlSocket).health(),
    async setProviders(wanted) {
      const providers = checked(providersSchema, wanted);
      told.providers = providers;
      await keeper.say((target) => target.setProviders(providers));
    },
    authority: () => homeAuthority(home.authorityDir, options.extraCertificates ?? null),
    models: () => controlClient(home.gatewayControlSocket).models(),
    async openRun(wanted) {
      const run = checked(runStateSchema, wanted);
      told.runs.set(run.runId, run);
      await keeper.say((target) => target.openRun(run));
    },
    async closeRun(runId) {
      told.runs.delete(runId);
      await keeper.say((target) => target.closeRun(runId));
    },
    exchangesFile: (runId) => exchangesFile(home.gatewayDir, runId),
    close: () => keeper.close(),
  };
}

/** What is remembered must be right: it is told to every later gateway. Says where something is wrong, never with what value. */
function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Error(`The gateway cannot be told that: ${problemsOf(result.error)}.`);
}

/**
 * Ends the gateway of this home, those before it that still finish calls, and one that is just being
 * started: for 3 seconds they may end their calls, then the calls are broken off. Returns whether there
 * was one.
 */
export async function stopGateway(home: Home): Promise<boolean> {
  let found = false;
  // A server that still runs would bring it back for ever.
  for (let round = 0; round < MAX_STOP_ROUNDS; round += 1) {
    const processes = await gatewayProcesses(home);
    if (processes.length === 0) break;
    found = true;
    await endProcesses(processes);
  }
  return found;
}

async function endProcesses(processes: readonly ProcessIdentity[]): Promise<void> {
  for (const signal of ["SIGTERM", "SIGTERM", "SIGKILL"] as const) {
    for (const process of processes) signalProcess(process, signal);
    for (const giveUpAt = Date.now() + STOP_STEP_MS; processes.some(isAlive) && Date.now() < giveUpAt;) await wait(STOP_POLL_MS);
  }
}

/** First those without a name, then those with one: one that gets its name in between is among the second. */
async function gatewayProcesses(home: Home): Promise<ProcessIdentity[]> {
  const pids = await Promise.all(
    privateSockets(home.gatewayControlSocket).map((socket) =>
      controlClient(socket)
        .health()
        .then(
          ({ pid }) => pid,
          () => null,
        ),
    ),
  );
  const nameless = pids.map((pid) => (pid === null ? null : identifyProcess(pid))).filter((process) => process !== null);
  return [...nameless, ...livingLives(home.gatewayDir).map((life) => life.process)];
}
