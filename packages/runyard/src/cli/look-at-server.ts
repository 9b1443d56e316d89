import type { ServerStatus } from "@runyard/sdk/contract";
import type { Finding } from "../doctor.ts";
import type { Home } from "../home.ts";
import { connect } from "./connection.ts";
import { CliError } from "./exit-codes.ts";
import { type LocalServer, localServer } from "./local-server.ts";
import { packageVersion } from "./version.ts";

const TIMEOUT_MS = 3_000;

export interface ServerLook {
  readonly finding: Finding;
  /** Null where no server answered. */
  readonly status: ServerStatus | null;
}

/** The server that commands would talk to. */
export async function lookAtServer(env: NodeJS.ProcessEnv, home: Home): Promise<ServerLook> {
  const named = env["RUNYARD_URL"];
  const local = named ? null : findLocal(home);
  if (local instanceof CliError) return { finding: about("problem", local.message, local.advice), status: null };
  if (!named && local === null) return { finding: about("none", "none is running", "Start one with: runyard up"), status: null };
  const url = named || (local?.url ?? "");
  try {
    const status = await connect(env).status({ maxRetries: 0, timeoutMs: TIMEOUT_MS });
    const found = `Runyard ${status.version} is running at ${url}`;
    if (status.version === packageVersion) return { finding: about("ok", found, null), status };
    const advice = `This command is version ${packageVersion}: start the server again with the same, or use the other's command.`;
    return { finding: about("warning", found, advice), status };
  } catch (error) {
    return { finding: about("problem", `${url} does not answer as it should`, (error as Error).message), status: null };
  }
}

/** The server of this machine, or why nobody can tell whether there is one. */
function findLocal(home: Home): LocalServer | CliError | null {
  try {
    return localServer(home);
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
}

function about(state: Finding["state"], found: string, advice: string | null): Finding {
  return { area: "server", name: "server", state, found, advice };
}
