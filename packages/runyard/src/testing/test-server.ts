import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { homeAt, makePrivateDir, type Home } from "../home.ts";
import { withLock } from "../store/postgres/lock.ts";
import { ensurePostgres, stopPostgres } from "../store/postgres/postgres.ts";
import { nameProcess, isNamedAlive } from "../store/postgres/process.ts";
import { findPackage } from "../store/postgres/programs.ts";

/** Set by the process that holds the server for its children, to its identity. */
const HOLDER = "RUNYARD_TEST_SERVER_HOLDER";
/** Survives a killed server process, not a power cut: right for tests, and much faster. */
const SETTINGS = { fsync: "off", full_page_writes: "off", max_connections: "300", shared_buffers: "64MB" };

let url: Promise<string> | undefined;

/**
 * The server for tests: that of `RUNYARD_TEST_DATABASE_URL`, else one built-in server for this user of
 * this machine, started by whoever needs it first. Gives a connection string for a superuser.
 */
export function testServerUrl(): Promise<string> {
  const given = process.env["RUNYARD_TEST_DATABASE_URL"];
  url ??= given ? Promise.resolve(given) : startShared();
  return url;
}

/** Keeps the server, once somebody starts it, until this process calls `releaseTestServer`; for a test run's main process. */
export async function holdTestServer(): Promise<void> {
  const home = testHome();
  await withLock(lockDirOf(home), async () => enlist(home));
  process.env[HOLDER] = nameProcess(process.pid) ?? "";
}

/** Gives the server up; the last living process to do so stops it. What it stored stays for the next run. */
export async function releaseTestServer(): Promise<void> {
  const home = testHome();
  await withLock(lockDirOf(home), async () => {
    rmSync(path.join(usersDirOf(home), String(process.pid)), { force: true });
    if (countUsers(home) === 0) await stopPostgres(home);
  });
}

function testHome(): Home {
  const version = createHash("sha256").update(findPackage().root).update(findPackage().version).digest("hex").slice(0, 12);
  const root = path.join(tmpdir(), `runyard-test-${process.getuid?.() ?? 0}-${version}`);
  makePrivateDir(root);
  return homeAt(root);
}

async function startShared(): Promise<string> {
  const home = testHome();
  return withLock(lockDirOf(home), async () => {
    const isHeld = isNamedAlive(process.env[HOLDER] ?? "");
    if (!isHeld) enlist(home);
    return (await ensurePostgres({ home, settings: SETTINGS })).connectionString;
  });
}

function enlist(home: Home): void {
  mkdirSync(usersDirOf(home), { recursive: true });
  writeFileSync(path.join(usersDirOf(home), String(process.pid)), nameProcess(process.pid) ?? "");
}

/** Counts those who live and forgets the dead. */
function countUsers(home: Home): number {
  mkdirSync(usersDirOf(home), { recursive: true });
  const files = readdirSync(usersDirOf(home)).map((name) => path.join(usersDirOf(home), name));
  const dead = files.filter((file) => !isNamedAlive(readFileSync(file, "utf8")));
  for (const file of dead) rmSync(file, { force: true });
  return files.length - dead.length;
}

function usersDirOf(home: Home): string {
  return path.join(home.root, "users");
}

function lockDirOf(home: Home): string {
  return path.join(home.root, "users-lock");
}
