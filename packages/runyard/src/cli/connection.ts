import { readFileSync } from "node:fs";
import { RunyardClient } from "@runyard/sdk";
import { defaultHomeRoot, homeAt } from "../home.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { localServer } from "./local-server.ts";
import { explainSystemError } from "./system-error.ts";

export const HOW_TO_START =
  "Start one with `runyard up` (in a clone: `npm start`), or point RUNYARD_URL and RUNYARD_TOKEN to another machine's.";
/** What to do about a token's file that is worth nothing. */
export const NEW_TOKEN = "Remove that file and start the server again: it then makes a new token.";

/** A client for the server that the environment names, or for the one of this machine. */
export function connect(env: NodeJS.ProcessEnv = process.env): RunyardClient {
  const baseUrl = env["RUNYARD_URL"] || localUrl(env);
  const token = env["RUNYARD_TOKEN"] || localToken(env);
  try {
    return new RunyardClient({ baseUrl, token });
  } catch (error) {
    throw unusable((error as Error).message, env);
  }
}

function unusable(message: string, env: NodeJS.ProcessEnv): CliError {
  if (!message.startsWith("token"))
    return new CliError(`RUNYARD_URL cannot be used: ${message}`, { advice: "It looks like http://127.0.0.1:4600.", exitCode: EXIT.usage });
  if (!env["RUNYARD_TOKEN"]) {
    const file = homeAt(defaultHomeRoot(env)).adminTokenFile;
    return new CliError(`${file} holds no token: ${message}`, { advice: NEW_TOKEN, exitCode: EXIT.notAuthorised });
  }
  const advice = "It is one word, as the file that `runyard token` names has it.";
  return new CliError(`RUNYARD_TOKEN cannot be used: ${message}`, { advice, exitCode: EXIT.usage });
}

function localUrl(env: NodeJS.ProcessEnv): string {
  const server = localServer(homeAt(defaultHomeRoot(env)));
  if (server === null) throw new CliError("No Runyard is running here.", { advice: HOW_TO_START });
  return server.url;
}

function localToken(env: NodeJS.ProcessEnv): string {
  const file = homeAt(defaultHomeRoot(env)).adminTokenFile;
  const token = readOptional(file)?.trim();
  if (token) return token;
  throw new CliError(`There is no token: ${file} ${token === "" ? "is empty" : "does not exist"}.`, {
    advice: "Set RUNYARD_TOKEN, or use the machine and the user that run the server.",
    exitCode: EXIT.notAuthorised,
  });
}

function readOptional(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new CliError(explainSystemError(error, file)?.message ?? `${file} cannot be read: ${(error as Error).message}`, {
      advice: "Use the user that runs the server, or set RUNYARD_TOKEN.",
      exitCode: EXIT.notAuthorised,
    });
  }
}
