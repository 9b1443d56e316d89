import { execFile } from "node:child_process";
import { CliError } from "./exit-codes.ts";

export interface GitAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longest output that is read, in bytes. */
const MOST_OUTPUT = 64 * 1024 * 1024;

/**
 * What comes from an agent must not run: a repository may have its hooks in a folder of its tree. Nothing is done in
 * submodules either, and nothing is tidied up.
 */
const HELD_BACK = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "submodule.recurse=false",
  "gc.auto=0",
  "maintenance.auto=false",
].flatMap((setting) => ["-c", setting]);

/** Runs git in a folder, as its user would: with their configuration, but without any hook. */
export function git(folder: string, ...words: string[]): Promise<GitAnswer> {
  return new Promise((resolve, reject) => {
    // English, because some answers are read by us.
    const options = { cwd: folder, env: { ...process.env, LC_ALL: "C" }, maxBuffer: MOST_OUTPUT };
    execFile("git", [...HELD_BACK, ...words], options, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") {
        const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
        reject(
          new CliError(missing ? "git is not installed, or not on the PATH." : `git did not run: ${error.message}`, {
            advice: "Install git and try again.",
          }),
        );
      } else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The same, for what must work: rejects with what git said. */
export async function mustGit(folder: string, ...words: string[]): Promise<string> {
  const answer = await git(folder, ...words);
  if (answer.code === 0) return answer.stdout;
  throw new CliError(`git ${words[0]} failed: ${lastWords(answer)}`);
}

/** What git said in the end, without its prefixes. */
export function lastWords(answer: GitAnswer): string {
  const lines = `${answer.stdout}\n${answer.stderr}`.split("\n").map((line) => line.replace(/^(fatal|error): /, "").trim());
  return lines.filter((line) => line !== "" && line !== "Aborting").join("; ") || `it ended with code ${answer.code}`;
}
