import { readFileSync } from "node:fs";
import { RunyardClient } from "@runyard/sdk";
import { defaultHomeRoot, homeAt } from "../home.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { localServer } from "./local-server.ts";

export const HOW_TO_START =
  "Start one with `runyard up` (in a clone: `npm start`), or point RUNYARD_URL and RUNYARD_TOKEN to another machine's.";

/** A client for the server that the environment names, or for the one of this machine. */
export function connect(env: NodeJS.ProcessEnv = process.env): RunyardClient {
  const baseUrl = env["RUNYARD_URL"] || localUrl(env);
  const token = env["RUNYARD_TOKEN"] || localToken(env);
  try {
    return new RunyardClient({ baseUrl, token });
  } catch (error) {
    const name = (error as Error).message.startsWith("token") ? "RUNYARD_TOKEN" : "RUNYARD_URL";
    const advice =
      name === "RUNYARD_URL" ? "It looks like http://127.0.0.1:4600." : "It is one word, as the file that `runyard token` names has it.";
    throw new CliError(`${name} cannot be used: ${(error as Error).message}`, { advice, exitCode: EXIT.usage });
  }
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
    throw new CliError(`${file} cannot be read: ${(error as Error).message}`, {
      advice: "Use the user that runs the server, or set RUNYARD_TOKEN.",
      exitCode: EXIT.notAuthorised,
    });
  }
}
