import { randomUUID } from "node:crypto";
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { nameProcess, isNamedAlive } from "./process.ts";

const POLL_MS = 15;
const GIVE_UP_MS = 180_000;

/**
 * Runs `work` while no other process (and no other call in this one) holds the lock of this
 * directory. A holder that dies loses the lock at once; one that lives is waited for, 3 minutes at most.
 *
 * The lock is the highest of a row of numbered files, each holding the name of its owner, or nothing
 * once released. Numbers only grow, because the highest file goes only when a higher one is there:
 * so two processes that see the same dead owner cannot both follow it.
 */
export async function withLock<T>(dir: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const giveUpAt = Date.now() + GIVE_UP_MS;
  let held = tryAcquire(dir);
  while (held === null) {
    if (Date.now() > giveUpAt) throw new Error(stuckMessage(dir));
    await wait(POLL_MS + Math.random() * POLL_MS);
    held = tryAcquire(dir);
  }
  try {
    return await work();
  } finally {
    writeFileSync(held, "");
  }
}

/** The file of the lock that is now ours, or null where somebody else has it. */
function tryAcquire(dir: string): string | null {
  const newest = generations(dir).at(-1) ?? 0;
  if (newest > 0 && isNamedAlive(ownerOf(dir, newest))) return null;
  const mine = path.join(dir, String(newest + 1));
  if (!placeWhole(mine, nameProcess(process.pid) ?? "")) return null;
  const rivals = generations(dir);
  if (rivals.at(-1) !== newest + 1) {
    rmSync(mine, { force: true });
    return null;
  }
  for (const older of rivals.slice(0, -1)) rmSync(path.join(dir, String(older)), { force: true });
  return mine;
}

/** Makes a file that is complete from the instant it can be seen; false where one is there already. */
function placeWhole(file: string, content: string): boolean {
  const draft = path.join(path.dirname(file), `draft-${randomUUID()}`);
  writeFileSync(draft, content, { mode: 0o600 });
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function generations(dir: string): number[] {
  const names = readdirSync(dir).filter((name) => /^[1-9]\d*$/.test(name));
  return names.map(Number).sort((a, b) => a - b);
}

function ownerOf(dir: string, generation: number): string {
  try {
    return readFileSync(path.join(dir, String(generation)), "utf8");
  } catch {
    return "";
  }
}

function stuckMessage(dir: string): string {
  const newest = generations(dir).at(-1) ?? 0;
  const pid = ownerOf(dir, newest).split(" ")[0];
  return `process ${pid} has been holding ${dir} for more than ${GIVE_UP_MS / 60_000} minutes: end that process and try again`;
}
