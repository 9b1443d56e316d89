import { readdirSync } from "node:fs";
import { findProgram } from "./programs.mjs";

/**
 * How one of the system's package managers is called. The words never hold anything but what stands
 * in this file, so they may be shown as a line to paste.
 * @typedef {object} PackageManager
 * @property {string} name
 * @property {readonly string[]} install words before the names of the packages
 * @property {readonly string[] | null} refresh fetches the lists of packages; null where installing does that itself
 * @property {() => boolean} hasLists false: install cannot find anything before a refresh
 */

/** @type {readonly PackageManager[]} */
const MANAGERS = [
  {
    name: "apt-get",
    install: ["apt-get", "install", "-y", "--no-install-recommends"],
    refresh: ["apt-get", "update"],
    hasLists: () => hasAptLists("/var/lib/apt/lists"),
  },
  { name: "dnf", install: ["dnf", "install", "-y"], refresh: null, hasLists: () => true },
  {
    name: "pacman",
    install: ["pacman", "-S", "--needed", "--noconfirm"],
    refresh: ["pacman", "-Sy", "--noconfirm"],
    hasLists: () => true,
  },
  { name: "zypper", install: ["zypper", "--non-interactive", "install"], refresh: null, hasLists: () => true },
];

/**
 * The first package manager that is on PATH, or null.
 * @param {NodeJS.ProcessEnv} env
 * @returns {PackageManager | null}
 */
export function choosePackageManager(env) {
  return MANAGERS.find((manager) => findProgram(manager.name, env) !== null) ?? null;
}

/**
 * What to run, in turn, until the packages are there. Lists that exist may be stale, so a failed
 * installation is tried again after a refresh.
 * @param {PackageManager} manager
 * @param {readonly string[]} packages
 * @returns {string[][]}
 */
export function installCommands(manager, packages) {
  const install = [...manager.install, ...packages];
  if (manager.refresh === null) return [install];
  const refresh = [...manager.refresh];
  return manager.hasLists() ? [install, refresh, install] : [refresh, install];
}

/**
 * The one line that a person pastes to install packages.
 * @param {PackageManager} manager
 * @param {readonly string[]} packages
 * @param {"root" | "sudo" | "su"} as who the person is, or how they become root
 * @returns {string}
 */
export function commandToShow(manager, packages, as) {
  const install = [...manager.install, ...packages];
  const steps = manager.refresh === null || manager.hasLists() ? [install] : [manager.refresh, install];
  const lines = steps.map((words) => words.join(" "));
  if (as === "su") return `su -c '${lines.join(" && ")}'`;
  return lines.map((line) => (as === "sudo" ? `sudo ${line}` : line)).join(" && ");
}

/**
 * True when apt knows of any package; images of containers come with empty lists.
 * @param {string} dir
 * @returns {boolean}
 */
export function hasAptLists(dir) {
  try {
    return readdirSync(dir).some((name) => /_Packages(\.|$)/.test(name));
  } catch {
    return false;
  }
}
