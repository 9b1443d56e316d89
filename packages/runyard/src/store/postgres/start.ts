import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { makePrivateDir, type Home } from "../../home.ts";
import { chooseAccount, openPathTo, underAccount, type Account } from "./account.ts";
import type { Adopted } from "./adopt.ts";
import { dataDirOf, ensureCluster, serverEnvironment } from "./cluster.ts";
import { makeSocketDir } from "./socket-dir.ts";
import { pidFileOf, pidInFile, postgresPid, saysReady } from "./postmaster.ts";
import { identifyProcess, processesServing, signalProcess } from "./process.ts";
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
const LEFTOVER_WAIT_MS = 5_000;

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
  await clearAway(home);
  await ensureCluster({ home, programs, account, ...(onProgress ? { onProgress } : {}) });
  const log = openLog(home);
  const child = spawnServer({ programs, account, home, settings: { ...SETTINGS, ...options.settings }, log });
  const failure = await waitUntilReady(child, options);
  const found = await options.find();
  // Another server may be the one: a starter that was killed may have left its own on the way up.
  if (found === null) throw new Error(`PostgreSQL did not start (${failure ?? "it ended at once"}). ${logTail(log)}`);
  await removeOtherPrograms(home, programs);
  return { ...found, adopted: found.pid !== child.pid };
}

/** initdb hands the paths of its programs to a shell, in double quotes. */
function refuseShellCharacters(root: string): void {
  if (!/["$`\\\n]/.test(root)) return;
  throw new Error(`PostgreSQL cannot live in ${root}: set RUNYARD_HOME to a path without any of " $ \` \\ and line breaks.`);
}

/** Ends what a killed server left running, and removes a pid file whose number now belongs to a stranger. */
async function clearAway(home: Home): Promise<void> {
  const dataDir = dataDirOf(home);
  if (postgresPid(home) !== null) return;
  const giveUpAt = Date.now() + LEFTOVER_WAIT_MS;
  for (let left = processesServing(dataDir); left.length > 0 && Date.now() < giveUpAt; left = processesServing(dataDir)) {
    for (const pid of left) signalProcess(pid, "SIGKILL");
    await wait(POLL_MS);
  }
  const stale = pidInFile(dataDir);
  // PostgreSQL deals with the pid of a dead process itself, and more carefully, so leave it that.
  if (stale !== null && identifyProcess(stale) !== null) rmSync(pidFileOf(dataDir), { force: true });
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

/** Waits for the server's own word that it is ready, or for its end: then says how it ended. */
async function waitUntilReady(child: ChildProcess, options: StartOptions): Promise<string | null> {
  const dataDir = dataDirOf(options.home);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
  });
  const saySoAt = Date.now() + SAY_SO_AFTER_MS;
  let said = false;
  // Recovery after a crash takes as long as it takes; whoever waits for us sees a living lock holder.
  for (;;) {
    if (child.pid !== undefined && saysReady(dataDir, child.pid)) return null;
    if (!said && Date.now() > saySoAt) {
      options.onProgress?.("Waiting for PostgreSQL, which is recovering after a crash");
      said = true;
    }
    const failure = await Promise.race([ended, wait(POLL_MS, null)]);
    if (failure !== null) return failure;
  }
}
