import { readFileSync } from "node:fs";
import { RunyardClient } from "@runyard/sdk";
import { defaultHomeRoot, homeAt } from "../home.ts";
import { CliError, EXIT } from "./exit-codes.ts";

const NOT_RUNNING =
  "No Runyard is running here. Start one with `npm start` (or `runyard up`), or point RUNYARD_URL and RUNYARD_TOKEN to another machine's.";

/** A client for the server that the environment names, or for the one of this machine. */
export function connect(env: NodeJS.ProcessEnv = process.env): RunyardClient {
  const baseUrl = env["RUNYARD_URL"] || localUrl(env);
  const token = env["RUNYARD_TOKEN"] || localToken(env);
  return new RunyardClient({ baseUrl, token });
}

function localUrl(env: NodeJS.ProcessEnv): string {
  const text = readOptional(homeAt(defaultHomeRoot(env)).serverFile);
  if (text === null) throw new CliError(NOT_RUNNING);
  const { url } = JSON.parse(text) as { url: string };
  return url;
}

function localToken(env: NodeJS.ProcessEnv): string {
  const token = readOptional(homeAt(defaultHomeRoot(env)).adminTokenFile);
  if (token === null) {
    throw new CliError("There is no token. Set RUNYARD_TOKEN, or use the machine and the user that run the server.", EXIT.notAuthorised);
  }
  return token.trim();
}

function readOptional(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new CliError(`${file} cannot be read: ${(error as Error).message}`);
  }
}
