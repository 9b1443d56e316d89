// The licence gate: fails when a package that reaches users has a licence that is not on the list or
// needs an install script, when a dependency of the workspace is not pinned, or when a lockfile has holes.
import { existsSync, readFileSync } from "node:fs";
import { findHoles, isThirdParty, judgePackages, judgePins } from "./licences/decide.mjs";

const ROOT = new URL("../", import.meta.url);

/**
 * @param {string} file below the root of the repository
 * @returns {unknown}
 */
function readJson(file) {
  return JSON.parse(readFileSync(new URL(file, ROOT), "utf8"));
}

/**
 * The licence that an installed package states itself, for the few that the lockfile has none of.
 * @param {string} place
 * @returns {unknown}
 */
function installedLicence(place) {
  try {
    return /** @type {{ license?: unknown }} */ (readJson(`${place}/package.json`)).license;
  } catch {
    return undefined;
  }
}

/**
 * @typedef {Record<string, import("./licences/decide.mjs").LockedPackage>} Packages
 * @param {string} lockfile
 * @returns {Packages}
 */
function readPackages(lockfile) {
  return /** @type {{ packages: Packages }} */ (readJson(lockfile)).packages;
}

const LOCKFILE = "package-lock.json";
const TEST_LOCKFILES = ["", "claude/", "codex/", "gemini/"].map((folder) => `test/agents/${folder}package-lock.json`);

const packages = readPackages(LOCKFILE);
for (const [place, entry] of Object.entries(packages)) {
  if (isThirdParty(place)) entry.license ??= installedLicence(place);
}

const problems = [...judgePackages(packages), ...judgePins(packages), ...findHoles(LOCKFILE, packages)];
for (const lockfile of TEST_LOCKFILES.filter((file) => existsSync(new URL(file, ROOT))))
  problems.push(...findHoles(lockfile, readPackages(lockfile)));
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log("Licences, install scripts, pins and lockfiles are in order.");
