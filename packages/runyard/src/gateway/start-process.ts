import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { type Home, makePrivateDir } from "../home.ts";
import { type ControlClient, controlClient, GatewayAway } from "./control-client.ts";
import { privateName } from "./files.ts";

/** A fresh process on a busy machine takes its time; 60 to 300 ms are usual. */
const START_TIMEOUT_MS = 20_000;
const POLL_MS = 10;
const LOG_TAIL_BYTES = 2_000;

/** A gateway process that has no name yet: it can be told things, but nobody finds it. */
export interface Standby {
  readonly control: ControlClient;
  readonly process: ChildProcess;
}

export interface GatewayProgram {
  readonly home: Home;
  /** The bundled program. */
  readonly program: string;
  /** Arguments for Node, so that tests can run sources. */
  readonly execArgv: readonly string[];
}

export function gatewayLog(home: Home): string {
  return path.join(home.logsDir, "gateway.log");
}

/** Starts a process that outlives this one, with an empty environment but for PATH. Resolves when it can be told things. */
export async function startStandby({ home, program, execArgv }: GatewayProgram): Promise<Standby> {
  for (const dir of [home.gatewayDir, home.gatewayDoorDir, path.dirname(home.gatewayControlSocket), home.logsDir]) makePrivateDir(dir);
  const log = openSync(gatewayLog(home), "a", 0o600);
  const child = spawn(process.execPath, [...execArgv, program, home.gatewayDir, home.gatewayDoorDir, home.gatewayControlSocket], {
    cwd: home.gatewayDir,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.unref();
  const control = controlClient(privateName(home.gatewayControlSocket, child.pid ?? 0));
  const early = new AbortController();
  const onError = (error: Error): void => early.abort(new Error(`The gateway could not be started: ${error.message}`));
  const onExit = (code: number | null, signal: string | null): void =>
    early.abort(new Error(`The gateway ended as soon as it was started (${signal ?? `code ${code}`}). ${logTail(home)}`));
  child.once("error", onError).once("exit", onExit);
  await waitUntilReady(control, { home, early: early.signal });
  child.off("exit", onExit);
  return { control, process: child };
}

async function waitUntilReady(control: ControlClient, { home, early }: { home: Home; early: AbortSignal }): Promise<void> {
  const giveUpAt = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await control.health();
      return;
    } catch (error) {
      if (!(error instanceof GatewayAway)) throw error;
      early.throwIfAborted();
      if (Date.now() > giveUpAt)
        throw new Error(`The gateway did not start within ${START_TIMEOUT_MS / 1_000} seconds. ${logTail(home)}`, { cause: error });
      await wait(POLL_MS);
    }
  }
}

function logTail(home: Home): string {
  const file = gatewayLog(home);
  let tail = "";
  try {
    tail = readFileSync(file).subarray(-LOG_TAIL_BYTES).toString().trim();
  } catch (error) {
    tail = `it cannot be read (${(error as Error).message})`;
  }
  return `The end of ${file}: ${tail === "" ? "(nothing)" : tail}`;
}
