import { readFileSync } from "node:fs";
import path from "node:path";
import type { Home } from "../home.ts";
import { NEW_TOKEN } from "./connection.ts";
import { CliError } from "./exit-codes.ts";
import { homeProblem } from "./home-problem.ts";
import { explainSystemError } from "./system-error.ts";

interface Kept {
  readonly file: string;
  readonly fits: RegExp;
  /** What the file lacks, behind its path. */
  readonly lack: string;
  readonly advice: string;
}

/** What a home keeps for ever, and what it costs to lose it. */
function keptIn(home: Home): readonly Kept[] {
  return [
    { file: home.adminTokenFile, fits: /^[\x21-\x7e]+$/, lack: "holds no token", advice: NEW_TOKEN },
    {
      file: home.secretFile,
      fits: /\S/,
      lack: "is empty",
      advice: "Remove it and start again: a new one is made, and agents that still run lose their model.",
    },
    {
      file: home.secretsKeyFile,
      fits: /^[A-Za-z0-9+/_-]{43}=?$|^[0-9a-fA-F]{64}$/,
      lack: "holds no key",
      advice: "Put it back as it was. If it is lost, remove it and start again: a new one is made, and every secret must be stored again.",
    },
    {
      file: path.join(home.root, "runner-id"),
      fits: /^runner_[0-9a-z]{26}$/,
      lack: "does not hold this home's name",
      advice:
        "Put it back as it was. If it is lost, remove it and start again: a new one is made, and runs that were in flight stay unfinished.",
    },
  ];
}

/** Refuses a home that cannot be served, before anything is started in it. */
export function refuseUnusableHome(home: Home): void {
  const problem = homeProblem(home.root);
  if (problem !== null) throw new CliError(`${problem.found}.`, { advice: problem.advice });
  for (const { file, fits, lack, advice } of keptIn(home)) {
    const text = readKept(file);
    if (text !== null && !fits.test(text)) throw new CliError(`${file} ${lack}.`, { advice });
  }
}

/** Null: it is not there yet, and the start makes it. */
function readKept(file: string): string | null {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    const known = explainSystemError(error, file);
    throw known === null ? error : new CliError(known.message, { advice: known.advice });
  }
}
