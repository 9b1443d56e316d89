import path from "node:path";
import type { Launch } from "./driver.ts";

/** What every POSIX shell exports of its own accord; the command gets none of it. */
const SHELL_VARIABLES = "PATH PWD OLDPWD SHLVL";

function refuseNul(text: string, what: string): string {
  if (text.includes("\0")) throw new Error(`${what} contains a NUL byte, which no command line can carry`);
  return text;
}

/** One word for a POSIX shell: every byte but NUL, taken literally. */
export function shellQuote(word: string): string {
  return `'${refuseNul(word, "a word of the command").replaceAll("'", "'\\''")}'`;
}

function exportLine([name, value]: [string, string]): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw new Error(`the environment variable ${JSON.stringify(name)} cannot be passed on: its name must be letters, digits and _`);
  }
  return `export ${name}=${shellQuote(value)}\n`;
}

/** Of what `ulimit -f` counts, in every POSIX shell. */
const BLOCK_BYTES = 512;

/** Where less is allowed already, it stays so. */
function limitFiles(maxBytes: number): string {
  return `ulimit -f ${Math.ceil(maxBytes / BLOCK_BYTES)} 2>/dev/null || :\n`;
}

/**
 * The file `cmd` of a run directory: limits, working directory, environment and words of a launch as shell text
 * that holds data only. Throws where something cannot be written in it.
 */
export function commandFile(launch: Launch): string {
  const program = launch.argv[0];
  if (program === undefined || program === "" || program.startsWith("-")) {
    throw new Error(`${JSON.stringify(program ?? "")} is not the name of a program`);
  }
  if (launch.cwd !== undefined && !path.isAbsolute(launch.cwd)) throw new Error(`${launch.cwd} is not an absolute path`);
  const enter = launch.cwd === undefined ? "" : `cd ${shellQuote(launch.cwd)} || exit 96\n`;
  const env = launch.cwd === undefined ? launch.env : { PWD: launch.cwd, ...launch.env };
  const exports = Object.entries(env).map(exportLine).join("");
  const limit = launch.maxFileBytes === undefined ? "" : limitFiles(launch.maxFileBytes);
  return `${limit}${enter}unset ${SHELL_VARIABLES}\n${exports}set -- ${launch.argv.map(shellQuote).join(" ")}\n`;
}

/** The file `args`: words ended by NUL, as `bwrap --args` reads them. */
export function argsFile(words: readonly string[]): string {
  return words.map((word) => `${refuseNul(word, "an option of the sandbox")}\0`).join("");
}

/** The file `join`: one `cgroup.procs` path on a line. */
export function joinFile(paths: readonly string[]): string {
  for (const file of paths) {
    if (!path.isAbsolute(file) || /[\0\n]/.test(file)) throw new Error(`${JSON.stringify(file)} is not the path of a control group`);
  }
  return paths.map((file) => `${file}\n`).join("");
}
