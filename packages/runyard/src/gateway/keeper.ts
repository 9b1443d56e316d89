import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { type ControlClient, controlClient, GatewayAway } from "./control-client.ts";
import { doorSocket } from "./files.ts";
import { newestLife } from "./lives.ts";
import { CONTROL_PROTOCOL, type GatewayHealth, type Provider, type RegisteredRun } from "./protocol.ts";
import { type GatewayProgram, startStandby } from "./start-process.ts";

const MAX_STARTS = 5;
/** Between tries to bring back a gateway that does not start. */
const REVIVE_RETRY_MS = 1_000;
/** How often the door itself is looked for: its directory may lie where old files are swept away. */
const DOOR_CHECK_MS = 5_000;

/** What a gateway must know; told to every new one. */
export interface Told {
  /** Undefined: nothing was said about them yet. */
  providers: readonly Provider[] | undefined;
  readonly runs: Map<string, RegisteredRun>;
}

export interface KeeperOptions {
  readonly start: GatewayProgram;
  readonly told: Told;
  readonly onLog: (message: string) => void;
}

/** Sees to it that there always is a gateway which knows everything. */
export interface Keeper {
  current(): GatewayHealth;
  /** Says something to the gateway, one thing after the other; to one that has to be brought back, after all the rest. */
  say(what: (target: ControlClient) => Promise<void>): Promise<void>;
  close(): void;
}

/** Adopts the gateway of the program's home, or starts one; one of another program is replaced. */
export async function keepGateway({ start, told, onLog }: KeeperOptions): Promise<Keeper> {
  const { home } = start;
  const control = controlClient(home.gatewayControlSocket);
  const inTurn = oneAtATime();
  const closing = new AbortController();
  let watching: { close(): void } | undefined;
  let current: GatewayHealth;

  const ensure = async (suits: Suits): Promise<void> => {
    current = await ensureGateway({ start, control, told, onLog, closing: closing.signal }, suits);
    watching?.close();
    watching = control.watch(() => void revive("the gateway is gone"));
  };

  const revive = async (reason: string): Promise<void> => {
    if (!closing.signal.aborted) onLog(reason);
    while (!closing.signal.aborted) {
      try {
        return await inTurn(() => (closing.signal.aborted ? Promise.resolve() : ensure(isUnderstood)));
      } catch (error) {
        if (closing.signal.aborted) return;
        onLog(`the gateway could not be brought back: ${String(error)}`);
        await wait(REVIVE_RETRY_MS, undefined, { ref: false });
      }
    }
  };

  const programHash = createHash("sha256").update(readFileSync(start.program)).digest("hex");
  await inTurn(() => ensure((found) => found.programHash === programHash && isUnderstood(found)));
  const doorCheck = setInterval(() => {
    if (!existsSync(doorSocket(home.gatewayDoorDir))) void revive("the gateway's door has vanished");
  }, DOOR_CHECK_MS);
  doorCheck.unref();

  return {
    current: () => current,
    async say(what) {
      await inTurn(async () => {
        if (await reached(what(control))) return;
        await ensure(isUnderstood);
        await what(control);
      });
    },
    close() {
      closing.abort();
      clearInterval(doorCheck);
      watching?.close();
    },
  };
}

type Suits = (found: GatewayHealth) => boolean;

/** Another server may have put a newer gateway in place of ours: that one is told everything too, not replaced. */
function isUnderstood(found: GatewayHealth): boolean {
  return found.protocol === CONTROL_PROTOCOL;
}

interface Ensuring extends KeeperOptions {
  readonly control: ControlClient;
  /** Once it is aborted no process is made the gateway any more: whoever closes may be about to end everything. */
  readonly closing: AbortSignal;
}

/** Finds a gateway that suits or starts one, and tells it everything. */
async function ensureGateway(context: Ensuring, suits: Suits): Promise<GatewayHealth> {
  const { start, control, told, closing } = context;
  for (let tries = 0; tries < MAX_STARTS; tries += 1) {
    closing.throwIfAborted();
    // Read first: a gateway that comes after this makes our own start a thing of the past.
    const replaces = newestLife(start.home.gatewayDir);
    const found = (await findSuiting(context, suits)) ?? (await startOne(context, { replaces, suits }));
    if (found !== null && (await reached(tellAll(control, told)))) return found;
  }
  throw new Error("The gateway was replaced again and again while it was being started. Is another server using this RUNYARD_HOME?");
}

/** Starts a process and gives it the place after life number `replaces`; null when somebody else was faster. */
async function startOne(context: Ensuring, { replaces, suits }: { replaces: number; suits: Suits }): Promise<GatewayHealth | null> {
  const standby = await startStandby(context.start);
  let taken = false;
  try {
    const found = await findSuiting(context, suits);
    if (found !== null) return found;
    await tellAll(standby.control, context.told);
    context.closing.throwIfAborted();
    taken = await standby.control.take(replaces);
    if (!taken) return null;
    context.onLog(`started the gateway (pid ${standby.process.pid})`);
    return await health(context.control);
  } finally {
    if (!taken) standby.process.kill("SIGTERM");
  }
}

async function findSuiting({ control, start }: Ensuring, suits: Suits): Promise<GatewayHealth | null> {
  const found = await health(control);
  return found !== null && suits(found) && existsSync(doorSocket(start.home.gatewayDoorDir)) ? found : null;
}

async function health(control: ControlClient): Promise<GatewayHealth | null> {
  try {
    return await control.health();
  } catch {
    // Nobody there, or one whose words this version does not know.
    return null;
  }
}

async function tellAll(target: ControlClient, { providers, runs }: Told): Promise<void> {
  if (providers !== undefined) await target.setProviders(providers);
  for (const run of runs.values()) await target.openRun(run);
}

/** False when the gateway was not there, or went away meanwhile. */
async function reached(telling: Promise<void>): Promise<boolean> {
  try {
    await telling;
    return true;
  } catch (error) {
    if (error instanceof GatewayAway) return false;
    throw error;
  }
}

/** Runs work one piece after the other, in the order in which it was given. */
function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return async (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return await mine;
  };
}
