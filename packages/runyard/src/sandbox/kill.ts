import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { cgroupsOf, killMembers, prepareKill, readMembers, removeCgroups } from "./cgroup.ts";
import { awaitContainer, noteRemoved, processesOfContainer, removeContainerOf } from "./docker-remove.ts";
import { isOlder, isSameProcess, isShimAlive, readExitCode, readOwnHome, readShimPid, readShimStart } from "./run-directory.ts";

/** What a shim has between TERM and KILL, to end its command and to say how it ended. */
export const TERMINATION_GRACE_MS = 200;
const LIMIT_MS = 30_000;
const PAUSE_MS = 3;
const SCAN_BATCH = 32;

/** Files of a run directory that only the run's own processes write; server and readers hold others, or read. */
const RUN_FILES = new Set(["stdin", "stdout", "out", "err"]);

/** Where a link of /proc leads; empty where its process or descriptor is gone, or another user's. */
function linkOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return "";
  }
}

function writes(link: string, dir: string): boolean {
  const target = linkOf(link);
  if (path.dirname(target) !== dir || !RUN_FILES.has(path.basename(target))) return false;
  return path.basename(target) === "stdin" || ((lstatSync(link, { throwIfNoEntry: false })?.mode ?? 0) & 0o200) !== 0;
}

function holds(proc: string, dir: string): boolean {
  if (linkOf(`${proc}/cwd`) === dir) return true;
  try {
    return readdirSync(`${proc}/fd`).some((fd) => writes(`${proc}/fd/${fd}`, dir));
  } catch {
    return false; // gone, or another user's
  }
}

/** Whether a process was started with this word in its environment. */
function wasGiven(proc: string, word: string): boolean {
  try {
    return `\0${readFileSync(`${proc}/environ`, "utf8")}`.includes(`\0${word}\0`);
  } catch {
    return false; // gone, or another user's
  }
}

/**
 * Processes that live in a run directory, write its files or have its HOME; never this one, nor those that were there
 * before its shim, most of a machine's. Gives way to other work between batches.
 */
async function findHolders(runDir: string): Promise<number[]> {
  const found: number[] = [];
  const dir = realpathSync(runDir); // as the kernel names it
  const home = readOwnHome(runDir);
  const begun = readShimStart(runDir);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  for (const [index, pid] of pids.entries()) {
    if (index % SCAN_BATCH === SCAN_BATCH - 1) await nextTurn();
    if (begun > 0 && isOlder(Number(pid), begun)) continue;
    if (holds(`/proc/${pid}`, dir) || (home !== null && wasGiven(`/proc/${pid}`, `HOME=${home}`))) found.push(Number(pid));
  }
  return found;
}

function killProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ended meanwhile
  }
}

/** Takes the place of a shim that has not come yet, so that none can start later. True when there was none. */
function forestall(dir: string): boolean {
  try {
    writeFileSync(path.join(dir, "started"), "", { flag: "wx" });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EEXIST") return false;
    throw error;
  }
  noteRemoved(dir); // nobody will ever make its container
  writeFileSync(path.join(dir, "err"), "it was ended before it began\n", { flag: "a" });
  writeFileSync(path.join(dir, "exit"), `${"97".padEnd(15)}\n`);
  return true;
}

/** Lets the shim end its command and write `exit`, for a moment. */
async function terminateShim(dir: string): Promise<void> {
  const shim = readShimPid(dir);
  if (shim === null || !isSameProcess(shim)) return;
  killProcess(shim.pid, "SIGTERM");
  for (const end = Date.now() + TERMINATION_GRACE_MS; Date.now() < end; await sleep(1)) {
    if (readExitCode(dir) !== null || !isShimAlive(dir)) return;
  }
}

/**
 * Whether everything of a run directory is in its control groups: its shim has joined them (it says who it is
 * afterwards), and bubblewrap, which the file `args` is for, shows no control group that could be left.
 */
function isWhollyInGroups(dir: string): boolean {
  return readShimPid(dir) !== null && existsSync(path.join(dir, "args"));
}

/**
 * Ends everything of a run directory for certain, and removes its control groups and its container: TERM to the shim, then
 * SIGKILL to all members of its control groups and all holders of its files, until two scans in a row
 * find none. A directory that was not started yet never will be. Throws after 30 s, EngineAwayError where that is for
 * the engine of its container; then it can be done again.
 */
export async function killRunDirectory(dir: string): Promise<void> {
  try {
    await endAll(dir);
  } catch (error) {
    // Whoever removes a run directory has ended all of it before, as one who watches a shell does.
    if (existsSync(dir) || (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

async function endAll(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  if (!forestall(dir)) {
    await awaitContainer(dir);
    await terminateShim(dir);
  }
  prepareKill(dir);
  const hasGroups = cgroupsOf(dir).some((group) => existsSync(group));
  const isKnown = hasGroups && isWhollyInGroups(dir);
  const end = Date.now() + LIMIT_MS;
  for (let quiet = 0; quiet < 2; await sleep(PAUSE_MS)) {
    killMembers(dir);
    // Looking through all processes takes long: not at all where it can find nothing, once where no one can leave a group.
    const holders = isKnown || (hasGroups && quiet > 0) ? [] : await findHolders(dir);
    const left = [...readMembers(dir), ...holders];
    for (const pid of left) killProcess(pid, "SIGKILL");
    quiet = left.length === 0 ? quiet + 1 : 0;
    if (quiet < 2 && Date.now() > end) throw new Error(`processes of ${dir} could not be ended: ${left.join(", ")}`);
  }
  await removeContainerOf(dir);
  for (let left = processesOfContainer(dir); left.length > 0; left = processesOfContainer(dir)) {
    for (const pid of left) killProcess(pid, "SIGKILL");
    if (Date.now() > end) throw new Error(`processes of the container of ${dir} could not be ended: ${left.join(", ")}`);
    await sleep(PAUSE_MS);
  }
  await removeCgroups(dir);
}
