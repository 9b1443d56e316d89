import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";

/**
 * Where a program is on PATH, or null. Empty and relative entries of PATH are skipped: what they
 * mean depends on the folder one stands in.
 * @param {string} name
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string | null}
 */
export function findProgram(name, env = process.env) {
  const dirs = (env["PATH"] ?? "").split(path.delimiter).filter((dir) => path.isAbsolute(dir));
  return dirs.map((dir) => path.join(dir, name)).find(isProgram) ?? null;
}

/**
 * @param {string} file
 * @returns {boolean}
 */
function isProgram(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
