import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { withLock } from "./lock.mjs";
import { findProgram } from "./programs.mjs";
import { runProgram } from "./run-program.mjs";
import { SetUpError, say } from "./say.mjs";

/**
 * @typedef {object} LockedPackage an entry of package-lock.json, as far as it is read here
 * @property {string} [version]
 * @property {string} [integrity]
 * @property {boolean} [optional]
 * @property {readonly string[]} [os]
 * @property {readonly string[]} [cpu]
 * @property {readonly string[]} [libc]
 *
 * @typedef {{ readonly packages?: Readonly<Record<string, LockedPackage>> }} Lockfile
 */

/** npm's own pauses between tries add up to an hour where the registry is out of reach: shorter ones, one try more. */
const RETRY_FLAGS = ["--fetch-retries=3", "--fetch-retry-factor=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=10000"];
const NPM_FLAGS = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", ...RETRY_FLAGS];
const NPM_ADVICE = "If the npm registry was out of reach, check the connection and start again.";
const STILL_AT_IT_MS = 60_000;

/**
 * Installs what `<dir>/package-lock.json` pins, unless it is installed already. Install scripts of
 * dependencies never run. Does nothing where there is no lockfile.
 * @param {Readonly<{ dir: string, what: string, env: NodeJS.ProcessEnv }>} options `what` names the packages in progress lines
 * @returns {Promise<void>}
 */
export async function ensureDependencies({ dir, what, env }) {
  const lockfile = path.join(dir, "package-lock.json");
  if (!existsSync(lockfile)) return;
  const text = readFileSync(lockfile, "utf8");
  const wanted = markerFor(text);
  if (readMarker(dir) === wanted) return;

  /** @param {number} pid */
  const onWait = (pid) => say(`Another set-up is at work here (process ${pid}): waiting for it.`);
  await withLock(
    path.join(dir, ".runyard-setup"),
    async (lock) => {
      if (readMarker(dir) === wanted) return;
      if (!isInstalled(dir, text)) {
        say(`Installing ${what} (npm ci; the first time takes about a minute).`);
        await npmCi(dir, { env, onStart: lock.alsoHeldBy });
      }
      writeMarker(dir, wanted);
    },
    onWait,
  );
}

/**
 * What the marker of a finished installation holds: native packages differ between platforms, so a
 * folder that is shared with another system is installed anew.
 * @param {string} lockfileText
 */
function markerFor(lockfileText) {
  return `${createHash("sha256").update(lockfileText).digest("hex")} ${process.platform}-${process.arch}\n`;
}

/** @param {string} dir */
function markerFile(dir) {
  return path.join(dir, "node_modules", ".runyard-setup-done");
}

/**
 * @param {string} dir
 * @returns {string | null}
 */
function readMarker(dir) {
  try {
    return readFileSync(markerFile(dir), "utf8");
  } catch {
    return null;
  }
}

/**
 * @param {string} dir
 * @param {string} text
 */
function writeMarker(dir, text) {
  const file = markerFile(dir);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/**
 * True when npm has put exactly these packages there before, for example because somebody ran
 * `npm install`: npm writes what it installed into node_modules once it is done.
 * @param {string} dir
 * @param {string} lockfileText
 */
function isInstalled(dir, lockfileText) {
  try {
    const installed = readFileSync(path.join(dir, "node_modules", ".package-lock.json"), "utf8");
    return sameInstallation(JSON.parse(lockfileText), JSON.parse(installed));
  } catch {
    return false;
  }
}

/**
 * True when `installed` (node_modules/.package-lock.json) holds what `wanted` (package-lock.json) pins
 * for this platform, and nothing else.
 * @param {Lockfile} wanted
 * @param {Lockfile} installed
 * @param {Readonly<{ platform: string, arch: string }>} [machine]
 * @returns {boolean}
 */
export function sameInstallation(wanted, installed, machine = process) {
  const there = installed.packages ?? {};
  const pinned = Object.entries(wanted.packages ?? {}).filter(([name]) => name !== "");
  const names = new Set(pinned.map(([name]) => name));
  if (Object.keys(there).some((name) => !names.has(name))) return false;
  return pinned.every(([name, entry]) => {
    const found = there[name];
    if (found === undefined) return mayBeAbsent(entry, machine);
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

/**
 * npm leaves out optional packages that are made for another platform.
 * @param {LockedPackage} entry
 * @param {Readonly<{ platform: string, arch: string }>} machine
 */
function mayBeAbsent({ optional, os, cpu, libc }, { platform, arch }) {
  if (optional !== true) return false;
  const isMadeForHere = os?.includes(platform) === true && cpu?.includes(arch) === true && libc === undefined;
  return !isMadeForHere;
}

/**
 * @param {string} dir
 * @param {Readonly<{ env: NodeJS.ProcessEnv, onStart: (pid: number) => void }>} options
 */
async function npmCi(dir, { env, onStart }) {
  const argv = npmWords(["ci", "--prefix", dir], env);
  const stillAtIt = setInterval(
    () => say("Still installing. A npm registry that is slow or out of reach looks like this."),
    STILL_AT_IT_MS,
  );
  try {
    const { code, output } = await runProgram(argv, { cwd: dir, env, onStart });
    if (code !== 0) throw new SetUpError(`${output}\nnpm ci failed in ${dir} (exit code ${code}), see above. ${NPM_ADVICE}`);
  } finally {
    clearInterval(stillAtIt);
  }
}

/**
 * The argv of a command of npm that runs no install scripts.
 * @param {readonly string[]} words
 * @param {NodeJS.ProcessEnv} env
 * @returns {string[]}
 */
export function npmWords(words, env) {
  return [...npmCommand(env), ...words, ...NPM_FLAGS];
}

/**
 * The npm that started this script, else the one on PATH.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string[]}
 */
function npmCommand(env) {
  const script = env["npm_execpath"];
  if (script !== undefined && /^npm(-cli)?\.c?js$/.test(path.basename(script)) && existsSync(script)) return [process.execPath, script];
  const npm = findProgram("npm", env);
  if (npm === null) throw new SetUpError("npm is not on PATH. It comes with Node.js: install Node.js with npm, and start again.");
  return [npm];
}
