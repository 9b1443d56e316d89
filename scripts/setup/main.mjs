import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ensureDependencies } from "./dependencies.mjs";
import { SetUpError, say } from "./say.mjs";
import { ensureSystemPrograms, thisMachine } from "./system-programs.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const UNSAFE_FLAG = "--unsafe-process";
const VITEST = "node_modules/vitest/vitest.mjs";
/** Claude Code is proprietary: only whoever says so installs and tests it. */
const ASKED_FOR = process.env["RUNYARD_TEST_CLAUDE"] ? ["test/agents/claude"] : [];
/** Folders with the programs that tests run, each with a lockfile of its own; the full tests need those of half a gigabyte too. */
const TEST_PROGRAMS = ["test/agents", ...ASKED_FOR];
const FULL_TEST_PROGRAMS = [...TEST_PROGRAMS, "test/agents/codex", "test/agents/gemini"];

/**
 * @typedef {object} Command
 * @property {readonly string[]} testPrograms folders
 * @property {(args: string[]) => Promise<void>} start
 */

/** @type {Readonly<Record<string, Command>>} */
const COMMANDS = {
  up: { testPrograms: [], start: (args) => become("packages/runyard/bin/runyard.mjs", ["up", ...args]) },
  demo: { testPrograms: [], start: (args) => become("packages/runyard/bin/runyard.mjs", ["demo", ...args]) },
  test: { testPrograms: TEST_PROGRAMS, start: (args) => become(VITEST, ["run", ...withoutUnsafeFlag(args)]) },
  "test-full": {
    testPrograms: FULL_TEST_PROGRAMS,
    start: (args) => {
      process.env["RUNYARD_TEST_FULL"] = "1";
      return become(VITEST, ["run", ...withoutUnsafeFlag(args)]);
    },
  },
  "test-commands": {
    testPrograms: [],
    start: ([sequences = "10000", ...args]) => {
      process.env["RUNYARD_TEST_COMMANDS"] = sequences;
      return become(VITEST, ["run", "packages/runyard/test/commands", "-t", "whatever is done", ...args]);
    },
  },
  "test-matrix": { testPrograms: TEST_PROGRAMS, start: (args) => becomeSource("scripts/matrix/main.ts", args) },
  chaos: { testPrograms: TEST_PROGRAMS, start: (args) => becomeSource("packages/runyard/test/chaos/main.ts", args) },
  bench: { testPrograms: [], start: (args) => becomeSource("bench/main.ts", args) },
  build: { testPrograms: [], start: (args) => becomeSource("scripts/build/main.ts", args) },
  check: { testPrograms: TEST_PROGRAMS, start: async () => say("Set-up is complete.") },
};

/**
 * Prepares this clone and then becomes the program that the command names, in this very process: signals,
 * the terminal and the exit code are that program's own.
 * @param {readonly string[]} argv a command and its arguments
 */
export async function main([name = "", ...args]) {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    say(`Usage: node scripts/bootstrap.mjs <${Object.keys(COMMANDS).join(" | ")}> [arguments]`);
    process.exitCode = 2;
    return;
  }
  try {
    await setUp(args.includes(UNSAFE_FLAG), command.testPrograms);
  } catch (error) {
    reportFailure(error);
    return;
  }
  await command.start(args);
}

/**
 * @param {boolean} unsafeProcess
 * @param {readonly string[]} testPrograms
 */
async function setUp(unsafeProcess, testPrograms) {
  const machine = thisMachine();
  if (machine.platform === "win32") throw new SetUpError("Runyard's server runs on Linux. On Windows, use it inside WSL 2.");
  await ensureSystemPrograms({ machine, unsafeProcess });
  await ensureDependencies({ dir: ROOT, what: "Runyard's packages", env: machine.env });
  for (const folder of testPrograms)
    await ensureDependencies({ dir: path.join(ROOT, folder), what: "the agents that the tests run", env: machine.env });
}

/** @param {unknown} error */
function reportFailure(error) {
  process.exitCode = error instanceof SetUpError ? error.exitCode : 1;
  if (error instanceof SetUpError) say(error.message);
  else if (isNotWritable(error)) say(`Set-up could not write into ${ROOT}: ${error.message}. Start it as the owner of that folder.`);
  else throw error;
}

/**
 * @param {unknown} error
 * @returns {error is Error}
 */
function isNotWritable(error) {
  return error instanceof Error && "code" in error && ["EACCES", "EPERM", "EROFS"].includes(String(error.code));
}

/**
 * @param {string} script a file of this repository
 * @param {readonly string[]} args
 */
async function become(script, args) {
  const file = path.join(ROOT, script);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
}

/**
 * Becomes a program that is written in TypeScript.
 * @param {string} script a file of this repository
 * @param {readonly string[]} args
 */
async function becomeSource(script, args) {
  const { registerSources } = await import("../../packages/runyard/bin/register-sources.mjs");
  await registerSources();
  await become(script, withoutUnsafeFlag(args));
}

/**
 * The flag is for set-up alone where the program that follows does not know it.
 * @param {readonly string[]} args
 */
function withoutUnsafeFlag(args) {
  return args.filter((arg) => arg !== UNSAFE_FLAG);
}
