import { choosePackageManager, commandToShow, installCommands } from "./package-manager.mjs";
import { findProgram } from "./programs.mjs";
import { runProgram } from "./run-program.mjs";
import { SetUpError, say } from "./say.mjs";

/**
 * A program that Runyard needs, and the package that brings it (the same name in every distribution).
 * @typedef {{ readonly program: string, readonly package: string, readonly isolates: boolean }} Requirement
 *
 * @typedef {object} Machine what set-up must know of the machine
 * @property {NodeJS.Platform} platform
 * @property {NodeJS.ProcessEnv} env
 * @property {boolean} isRoot
 *
 * @typedef {object} Privilege
 * @property {"root" | "sudo" | "su"} as who the user is, or how they become root
 * @property {readonly string[] | null} prefix words before a command that needs root; null: not without asking the user
 */

/** @type {readonly Requirement[]} */
const REQUIREMENTS = [
  { program: "git", package: "git", isolates: false },
  { program: "bwrap", package: "bubblewrap", isolates: true },
  { program: "socat", package: "socat", isolates: true },
];

/** @returns {Machine} */
export function thisMachine() {
  return { platform: process.platform, env: process.env, isRoot: process.getuid?.() === 0 };
}

/**
 * Makes sure that git and, on Linux, the programs that isolate agents are there, and installs what is
 * missing where it may. With `unsafeProcess` the ones that isolate may be missing.
 * @param {Readonly<{ machine: Machine, unsafeProcess: boolean }>} options
 * @returns {Promise<void>}
 */
export async function ensureSystemPrograms({ machine, unsafeProcess }) {
  const missing = missingPrograms(machine);
  const unisolated = unsafeProcess ? missing.filter((one) => one.isolates) : [];
  if (unisolated.length > 0) say(warningOfNoIsolation(unisolated));
  const wanted = missing.filter((one) => !unisolated.includes(one));
  if (wanted.length > 0) await install(wanted, machine);
}

/**
 * What this machine lacks. Other systems than Linux isolate by other means.
 * @param {Machine} machine
 * @returns {Requirement[]}
 */
export function missingPrograms({ platform, env }) {
  return REQUIREMENTS.filter((one) => platform === "linux" || !one.isolates).filter((one) => findProgram(one.program, env) === null);
}

/**
 * @param {readonly Requirement[]} missing
 * @param {Machine} machine
 */
async function install(missing, machine) {
  const manager = machine.platform === "linux" ? choosePackageManager(machine.env) : null;
  const { as, prefix } = await findPrivilege(machine);
  if (manager === null || prefix === null) throw new SetUpError(adviceFor(missing, { manager, as }));

  const packages = missing.map((one) => one.package);
  say(`Installing ${listOf(packages)} with ${manager.name}: needed ${purposeOf(missing)}.`);
  const env = { ...machine.env, DEBIAN_FRONTEND: "noninteractive" };
  let output = "";
  for (const command of installCommands(manager, packages)) {
    output = (await runProgram([...prefix, ...command], { env })).output;
    if (missingPrograms(machine).length === 0) return;
  }
  throw new SetUpError(`${output}\n${manager.name} failed, see above.\n${adviceFor(missingPrograms(machine), { manager, as })}`);
}

/**
 * How packages may be installed without asking anybody: as root, or by a sudo that wants no password.
 * @param {Machine} machine
 * @returns {Promise<Privilege>}
 */
async function findPrivilege(machine) {
  if (machine.isRoot) return { as: "root", prefix: [] };
  const sudo = findProgram("sudo", machine.env);
  if (sudo === null) return { as: "su", prefix: null };
  const { code } = await runProgram([sudo, "-n", "true"], { env: machine.env });
  return { as: "sudo", prefix: code === 0 ? [sudo, "-n"] : null };
}

/**
 * What somebody must do whose machine does not let set-up install packages: one command.
 * @param {readonly Requirement[]} missing
 * @param {Readonly<{ manager: import("./package-manager.mjs").PackageManager | null, as: "root" | "sudo" | "su" }>} options
 * @returns {string}
 */
function adviceFor(missing, { manager, as }) {
  const packages = missing.map((one) => one.package);
  const lines = [`Runyard needs ${listOf(packages)} on this machine ${purposeOf(missing)}.`];
  if (manager === null) lines.push(`Install ${listOf(packages)} with your system's package manager, then start again.`);
  else lines.push("Run this command, then start again:", "", `  ${commandToShow(manager, packages, as)}`, "");
  if (missing.some((one) => one.isolates)) lines.push(UNSAFE_WAY_OUT);
  return lines.join("\n");
}

const UNSAFE_WAY_OUT =
  "Where that is not possible, --unsafe-process goes on without isolation: an agent can then read and change whatever you can.";

/**
 * @param {readonly Requirement[]} missing
 * @returns {string}
 */
function warningOfNoIsolation(missing) {
  return [
    `WARNING: --unsafe-process without ${listOf(missing.map((one) => one.package))}: agents run WITHOUT ISOLATION.`,
    "An agent can then read and change whatever you can: your files, your keys and logins, Runyard's own admin token.",
    "Do that only where there is nothing that you would mind showing or losing.",
  ].join("\n");
}

/**
 * @param {readonly Requirement[]} missing
 * @returns {string}
 */
function purposeOf(missing) {
  const purposes = [];
  if (missing.some((one) => !one.isolates)) purposes.push("to work on repositories");
  if (missing.some((one) => one.isolates)) purposes.push("to keep agents away from your files and the network");
  return purposes.join(" and ");
}

/**
 * @param {readonly string[]} names
 * @returns {string}
 */
function listOf(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
