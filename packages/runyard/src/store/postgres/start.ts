import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync, renameSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { makePrivateDir, type Home } from "../../home.ts";
import { chooseAccount, openPathTo, underAccount, type Account } from "./account.ts";
import type { Adopted } from "./adopt.ts";
import { clearAwayDeadServer } from "./dead-server.ts";
import { dataDirOf, ensureCluster, serverEnvironment } from "./cluster.ts";
import { makeSocketDir } from "./socket-dir.ts";
import { saysReady } from "./postmaster.ts";
import { installPrograms, removeOtherPrograms, type Programs, type ProgramsPackage } from "./programs.ts";

/** Modest enough for a laptop. Durability stays at PostgreSQL's defaults, which are safe. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: "",
  unix_socket_permissions: "0700",
  port: "5432",
  max_connections: "100",
  shared_buffers: "128MB",
  jit: "off",
  log_checkpoints: "off",
};
const POLL_MS = 5;
const SAY_SO_AFTER_MS = 1_000;
const MAX_LOG_BYTES = 10_000_000;
const MAX_TRIES = 4;

export interface EnsureOptions {
  readonly home: Home;
  readonly onProgress?: (message: string) => void;
  /** Server settings that replace ours, for tests (`fsync: "off"`); they matter only when this call starts it. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface RunningPostgres {
  /** For the superuser, over the unix socket. Holds a password. */
  readonly connectionString: string;
  readonly pid: number;
  /** False when this call started the server. */
  readonly adopted: boolean;
}

export interface StartOptions extends EnsureOptions {
  readonly source: ProgramsPackage;
  readonly find: () => Promise<Adopted | null>;
}

/** Starts the home's server, which nobody else does meanwhile: the caller holds the start lock. */
export async function startPostgres(options: StartOptions): Promise<RunningPostgres> {
  const { home, onProgress } = options;
  refuseShellCharacters(home.root);
  for (const dir of [home.root, home.runtimeDir, home.postgresDir, home.logsDir]) makePrivateDir(dir);
  const account = await chooseAccount();
  openPathTo(account, home.root, [home.root, home.runtimeDir, home.postgresDir]);
  makeSocketDir(home.postgresSocketDir, account);
  const programs = await installPrograms(home, options.source);
  await ensureCluster({ home, programs, account, ...(onProgress ? { onProgress } : {}) });
  const started = await startSurely(options, { programs, account, home, settings: { ...SETTINGS, ...options.settings } });
  await removeOtherPrograms(home, programs);
  return started;
}

/** One that is killed on its way up is started again, a few times. */
async function startSurely(options: StartOptions, spawnOptions: Omit<SpawnOptions, "log">): Promise<RunningPostgres> {
  for (let tries = 1; ; tries += 1) {
    await clearAwayDeadServer(options.home);
    const log = openLog(options.home);
    const child = spawnServer({ ...spawnOptions, log });
    const end = await waitUntilReady(child, options);
    // Another server may be the one: a starter that was killed may have left its own on the way up.
    const found = await options.find();
    if (found !== null) return { ...found, adopted: found.pid !== child.pid };
    const wasKilled = end === null || end.signal !== null;
    if (!wasKilled || tries === MAX_TRIES) throw new Error(`PostgreSQL did not start (${end?.reason ?? "it was killed"}). ${logTail(log)}`);
  }
}

/** initdb hands the paths of its programs to a shell, in double quotes. */
function refuseShellCharacters(root: string): void {
  if (!/["$`\\\n]/.test(root)) return;
  throw new Error(`PostgreSQL cannot live in ${root}: set RUNYARD_HOME to a path without any of " $ \` \\ and line breaks.`);
}

interface Log {
  readonly file: string;
  /** Where this start's lines begin. */
  readonly offset: number;
}

function openLog(home: Home): Log {
  const file = path.join(home.logsDir, "postgres.log");
  let size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > MAX_LOG_BYTES) {
    renameSync(file, `${file}.1`);
    size = 0;
  }
  return { file, offset: size };
}

function logTail({ file, offset }: Log): string {
  const said = readFileSync(file).subarray(offset).toString().trim().split("\n").slice(-20).join("\n");
  return `The end of ${file}:\n${said}`;
}

interface SpawnOptions {
  readonly home: Home;
  readonly programs: Programs;
  readonly account: Account;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: Log;
}

/** Starts the server in a session of its own, so that it outlives us. */
function spawnServer({ home, programs, account, settings, log }: SpawnOptions): ChildProcess {
  const quotedSocketDir = `"${home.postgresSocketDir.replaceAll('"', '""')}"`;
  const all = { ...settings, unix_socket_directories: quotedSocketDir };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const { file, args, ...owner } = underAccount(account, [programs.postgres, "-D", dataDirOf(home), ...flags]);
  const output = openSync(log.file, "a", 0o600);
  try {
    const child = spawn(file, args, {
      ...owner,
      cwd: "/",
      env: serverEnvironment(),
      detached: true,
      stdio: ["ignore", output, output],
    });
    child.unref();
    return child;
  } finally {
    closeSync(output);
  }
}

interface ServerEnd {
  readonly reason: string;
  readonly signal: NodeJS.Signals | null;
}

/** Waits for the server's own word that it is ready (null), or for its end. */
async function waitUntilReady(child: ChildProcess, options: StartOptions): Promise<ServerEnd | null> {
  const dataDir = dataDirOf(options.home);
  const ended = new Promise<ServerEnd>((resolve) => {
    child.once("error", (error) => resolve({ reason: error.message, signal: null }));
    child.once("exit", (code, signal) => resolve({ reason: `it ended with ${code ?? signal}`, signal }));
  });
  const saySoAt = Date.now() + SAY_SO_AFTER_MS;
  let said = false;
  // Recovery after a crash takes as long as it takes; whoever waits for us sees a living lock holder.
  for (;;) {
    if (child.pid !== undefined && saysReady(dataDir, child.pid)) return null;
    if (!said && Date.now() > saySoAt) {
      options.onProgress?.("Waiting for PostgreSQL, which is starting or recovering");
      said = true;
    }
    const end = await Promise.race([ended, wait(POLL_MS, null)]);
    if (end !== null) return end;
  }
}
