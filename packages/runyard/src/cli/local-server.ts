import { readFileSync } from "node:fs";
import path from "node:path";
import type { Home } from "../home.ts";
import { isAlive, processIdentitySchema } from "../process-identity.ts";
import { z } from "zod";
import { CliError } from "./exit-codes.ts";
import { homeProblem } from "./home-problem.ts";
import { explainSystemError } from "./system-error.ts";

const recordSchema = processIdentitySchema.extend({ url: z.string(), version: z.string() });
/** What `server.json` in the home says of the server that runs. */
export type LocalServer = z.infer<typeof recordSchema>;

/** The server of this home, or null where none is running. Throws where this user cannot know. */
export function localServer(home: Home): LocalServer | null {
  const text = readRecord(home);
  if (text === null) return null;
  const record = parseRecord(text) ?? lastInLog(home);
  return record !== null && isAlive(record) ? record : null;
}

function readRecord(home: Home): string | null {
  try {
    return readFileSync(home.serverFile, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    const problem = homeProblem(home.root);
    const known = problem === null ? explainSystemError(error, home.serverFile) : { message: `${problem.found}.`, advice: problem.advice };
    throw known === null ? error : new CliError(known.message, { advice: known.advice });
  }
}

function parseRecord(text: string): LocalServer | null {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** A file that was damaged must not hide a server that lives: each writes the same into its log. */
function lastInLog(home: Home): LocalServer | null {
  try {
    const lines = readFileSync(path.join(home.logsDir, "server.log"), "utf8").split("\n");
    return parseRecord(lines.findLast((line) => line.includes('"msg":"Serving"')) ?? "");
  } catch {
    return null;
  }
}
