import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { SetUpError } from "./say.mjs";

/**
 * A lock is a directory that holds `owner.json`. It comes into being by one rename, so it is never
 * seen without its owner; it is stale once every process that it names has ended.
 *
 * @typedef {{ readonly pid: number, readonly startTime: string | null }} Holder
 * @typedef {{ readonly host: string, readonly holders: readonly Holder[] }} Owner
 *
 * @typedef {object} Lock
 * @property {(pid: number) => void} alsoHeldBy names a child that goes on with the work should this process be killed
 */

const POLL_MS = 200;
const GIVE_UP_MS = 20 * 60_000;
/** Whether a process of another host lives cannot be seen: such a lock is believed for this long. */
const FOREIGN_MS = 15 * 60_000;
/** Taking a stale lock away takes far less; a claim older than this was left by a killed process. */
const CLAIM_MS = 10_000;

/**
 * Runs `work` while holding the lock `dir`; waits as long as another process holds it.
 * @template T
 * @param {string} dir made and removed here; its parent must exist
 * @param {(lock: Lock) => Promise<T>} work
 * @param {(pid: number) => void} [onWait] called once when somebody else holds the lock
 * @returns {Promise<T>}
 */
export async function withLock(dir, work, onWait) {
  const self = holderOf(process.pid);
  await acquire(dir, self, onWait);
  try {
    return await work({ alsoHeldBy: (pid) => writeOwner(dir, [self, holderOf(pid)]) });
  } finally {
    remove(dir);
  }
}

/**
 * @param {string} dir
 * @param {Holder} self
 * @param {((pid: number) => void) | undefined} onWait
 */
async function acquire(dir, self, onWait) {
  const giveUpAt = Date.now() + GIVE_UP_MS;
  let told = false;
  while (!tryAcquire(dir, self)) {
    const owner = readOwner(dir);
    if (owner !== null && !isHeld(dir, owner)) {
      takeAway(dir);
      continue;
    }
    const pid = owner?.holders[0]?.pid ?? 0;
    if (!told && owner !== null) onWait?.(pid);
    told ||= owner !== null;
    if (Date.now() > giveUpAt)
      throw new SetUpError(`Process ${pid} has held ${dir} for too long. If it does not work any more, end it and remove ${dir}.`);
    await wait(POLL_MS);
  }
}

/**
 * @param {string} dir
 * @param {Holder} self
 * @returns {boolean}
 */
function tryAcquire(dir, self) {
  const own = `${dir}-${randomUUID()}`;
  mkdirSync(own);
  writeOwner(own, [self]);
  try {
    renameSync(own, dir);
    return true;
  } catch (error) {
    rmSync(own, { recursive: true, force: true });
    if (hasCode(error, "ENOTEMPTY", "EEXIST")) return false;
    throw error;
  }
}

/**
 * Removes a stale lock. Of several that see it stale only the one that makes `claim` in it goes on,
 * and looks again: the lock may be another one by now.
 * @param {string} dir
 */
function takeAway(dir) {
  const claim = path.join(dir, "claim");
  try {
    mkdirSync(claim);
  } catch {
    if (ageMs(claim) > CLAIM_MS) rmSync(claim, { recursive: true, force: true });
    return;
  }
  const owner = readOwner(dir);
  if (owner === null || isHeld(dir, owner)) {
    rmdirSync(claim);
    return;
  }
  remove(dir);
}

/**
 * Ends a lock by one rename, so that nobody meets a half removed one.
 * @param {string} dir
 */
function remove(dir) {
  const away = `${dir}-${randomUUID()}`;
  try {
    renameSync(dir, away);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    throw error;
  }
  rmSync(away, { recursive: true, force: true });
}

/**
 * @param {string} dir
 * @param {Owner} owner
 * @returns {boolean}
 */
function isHeld(dir, owner) {
  if (owner.host !== hostname()) return ageMs(dir) < FOREIGN_MS;
  return owner.holders.some(isAlive);
}

/**
 * @param {Holder} holder
 * @returns {boolean}
 */
function isAlive(holder) {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return hasCode(error, "EPERM");
  }
  return holder.startTime === startTimeOf(holder.pid);
}

/**
 * @param {number} pid
 * @returns {Holder}
 */
function holderOf(pid) {
  return { pid, startTime: startTimeOf(pid) };
}

/**
 * When a process was started, in ticks since boot: tells it from a later one with the same pid. Null where /proc is not.
 * @param {number} pid
 * @returns {string | null}
 */
function startTimeOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

/**
 * @param {string} dir
 * @param {readonly Holder[]} holders
 */
function writeOwner(dir, holders) {
  const file = path.join(dir, "owner.json");
  writeFileSync(`${file}.new`, JSON.stringify({ host: hostname(), holders }));
  renameSync(`${file}.new`, file);
}

/**
 * @param {string} dir
 * @returns {Owner | null} null when the lock is gone
 */
function readOwner(dir) {
  try {
    return JSON.parse(readFileSync(path.join(dir, "owner.json"), "utf8"));
  } catch {
    return null;
  }
}

/**
 * @param {string} file
 * @returns {number} 0 when it is gone
 */
function ageMs(file) {
  try {
    return Date.now() - statSync(file).mtimeMs;
  } catch {
    return 0;
  }
}

/**
 * @param {unknown} error
 * @param {string[]} codes
 * @returns {boolean}
 */
function hasCode(error, ...codes) {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
