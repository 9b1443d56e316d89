import { randomBytes, randomUUID } from "node:crypto";
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import type { Home } from "../../home.ts";
import { giveTo, giveToInit, underAccount, type Account } from "./account.ts";
import type { Programs } from "./programs.ts";

export const SUPERUSER = "runyard";

export interface ClusterOptions {
  readonly home: Home;
  readonly programs: Programs;
  readonly account: Account;
  readonly onProgress?: (message: string) => void;
}

export function dataDirOf(home: Home): string {
  return path.join(home.postgresDir, "data");
}

/**
 * Makes the data directory where there is none, and refuses one of another major version. Call it
 * under the start lock. The directory appears whole or not at all.
 */
export async function ensureCluster(options: ClusterOptions): Promise<void> {
  const dataDir = dataDirOf(options.home);
  if (!existsSync(dataDir)) await makeCluster(options, dataDir);
  checkMajor(dataDir, options.programs.major);
  // The account may be another one than last time: namespaces switched on or off, another container.
  giveTo(options.account, dataDir);
}

/** The superuser's password, or null before the first start. */
export function readPassword(home: Home): string | null {
  try {
    return readFileSync(passwordFile(home), "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

async function makeCluster(options: ClusterOptions, dataDir: string): Promise<void> {
  const { home } = options;
  options.onProgress?.("Making the database (only at the first start)");
  await removeDrafts(home);
  const draft = path.join(home.postgresDir, `draft-${randomUUID()}`);
  mkdirSync(draft, { mode: 0o700 });
  const pwfile = path.join(draft, "password");
  writeFileSync(pwfile, `${readPassword(home) ?? makePassword(home)}\n`, { mode: 0o600 });
  giveToInit(options.account, draft);
  await runInitdb(options, { dataDir: path.join(draft, "data"), pwfile });
  renameSync(path.join(draft, "data"), dataDir);
  syncDir(home.postgresDir);
  rmSync(draft, { recursive: true, force: true });
}

/** What killed starters left half made. One whose initdb still runs may resist; it stays until the next time. */
async function removeDrafts(home: Home): Promise<void> {
  const drafts = readdirSync(home.postgresDir).filter((name) => name.startsWith("draft-"));
  const removed = drafts.map((name) => rm(path.join(home.postgresDir, name), { recursive: true, force: true }));
  await Promise.allSettled(removed);
}

async function runInitdb(options: ClusterOptions, paths: { dataDir: string; pwfile: string }): Promise<void> {
  const { account, programs } = options;
  const command = underAccount(account, [
    programs.initdb,
    `--pgdata=${paths.dataDir}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${paths.pwfile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--no-instructions",
  ]);
  const owner = account.kind === "dedicated" ? { uid: account.initUid, gid: account.initUid } : {};
  const { code, output } = await run(command.file, command.args, owner);
  if (code === 0) return;
  throw new Error(`PostgreSQL's initdb failed (${code}) and nothing was kept. It said:\n${output.trim()}`);
}

function run(file: string, args: string[], owner: { uid?: number; gid?: number }): Promise<{ code: number | string; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...owner, cwd: "/", env: serverEnvironment(), stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code: code ?? String(signal), output }));
  });
}

/** PostgreSQL gets none of our environment: provider keys are in it. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
}

/** Refuses a data directory that this PostgreSQL cannot serve: one belongs to one major version. */
export function checkMajor(dataDir: string, major: number): void {
  const versionFile = path.join(dataDir, "PG_VERSION");
  if (!existsSync(versionFile)) {
    throw new Error(`${dataDir} is not a PostgreSQL data directory: move it away to start with an empty database.`);
  }
  const found = readFileSync(versionFile, "utf8").trim();
  if (found === String(major)) return;
  throw new Error(
    `The database in ${dataDir} was made by PostgreSQL ${found}, and this Runyard brings PostgreSQL ${major}. ` +
      `Use the Runyard that made it, or serve that directory with PostgreSQL ${found} and set DATABASE_URL, ` +
      `or move it away to start with an empty database.`,
  );
}

function passwordFile(home: Home): string {
  return path.join(home.postgresDir, "password");
}

function makePassword(home: Home): string {
  const password = randomBytes(24).toString("hex");
  const draft = path.join(home.postgresDir, `draft-password-${randomUUID()}`);
  writeFileSync(draft, `${password}\n`, { mode: 0o600, flush: true });
  renameSync(draft, passwordFile(home));
  return password;
}

function syncDir(dir: string): void {
  const descriptor = openSync(dir, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}
