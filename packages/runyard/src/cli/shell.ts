import { RunyardApiError } from "@runyard/sdk";
import { realpathSync } from "node:fs";
import path from "node:path";
import { defaultHomeRoot, type Home, homeAt } from "../home.ts";
import { attach } from "./attach.ts";
import { command, GROUP } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { localServer } from "./local-server.ts";
import { paintFor, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const shell = command("shell", {
  summary: "Open a shell, or run a command, in a run's sandbox and workspace",
  group: GROUP.runs,
  more: "On the server's own machine only, while the run is at work or its workspace is still kept. It has the run's limits, mounts and variables, no model, and of the network the hosts that the run may reach. A command's output and exit code are its own. Everything that it starts ends with it; a next turn of the run ends it too.",
  examples: ["runyard shell last", "runyard shell last -- npm test", "runyard shell 62g7a1 --with-secrets -- ./deploy.sh --dry-run"],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("[command...]", "what to run, behind --; default: a shell")
  .option("--with-secrets", "give it the run's secrets too")
  .action(async (name: string, words: readonly string[], options: { withSecrets?: boolean }) => {
    const home = homeAt(defaultHomeRoot());
    requireOwnServer(home, process.env);
    const client = connect();
    const id = await findRunId(client, name);
    const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
    const opened = await client.runs
      .openShell(id, {
        ...(words.length > 0 && { command: [...words] }),
        ...(isTerminal && { terminal: terminalName(process.env) }),
        ...(options.withSecrets === true && { withSecrets: true }),
      })
      .catch((error: unknown) => {
        if (RunyardApiError.is(error) && ["workspace_not_kept", "workspace_not_here", "sandbox_not_available"].includes(error.code ?? ""))
          throw new CliError(error.message, { exitCode: EXIT.refused });
        throw error;
      });
    requireOwnDirectory(home, opened.directory);
    if (isTerminal && words.length === 0) {
      const reach = opened.egress.length === 0 ? "no network" : `no network but ${opened.egress.join(", ")}`;
      say(
        paintFor(process.stderr)(
          "dim",
          `In the workspace of ${id}, without a model, ${reach}. What you change stays there. Leave with exit.`,
        ),
      );
    }
    process.exitCode = await attach(opened.directory);
  });

/** What is started is started by this process: that has to be where the sandbox is. */
function requireOwnServer(home: Home, env: NodeJS.ProcessEnv): void {
  const asked = env["RUNYARD_URL"];
  const own = localServer(home);
  if (own === null && !asked) return; // who connects says that there is none
  if (own !== null && (!asked || originOf(asked) === originOf(own.url))) return;
  throw new CliError(`A shell is opened on the server's own machine, and ${asked} is not the server of ${home.root}.`, {
    advice: "Use the command there, as the user that runs the server, with its RUNYARD_HOME.",
    exitCode: EXIT.refused,
  });
}

function originOf(url: string): string | null {
  if (!URL.canParse(url)) return null;
  const { protocol, hostname, port } = new URL(url);
  return `${protocol}//${hostname === "localhost" ? "127.0.0.1" : hostname}:${port}`;
}

/** What a server names is executed: only what is this home's own. */
function requireOwnDirectory(home: Home, directory: string): void {
  try {
    if (realpathSync(directory).startsWith(`${realpathSync(home.runsDir)}${path.sep}`)) return;
  } catch {
    // told below
  }
  throw new CliError(`${directory}, which the server has prepared, is not there for this user.`, {
    advice: "Use the command as the user that runs the server, with its RUNYARD_HOME.",
    exitCode: EXIT.refused,
  });
}

function terminalName({ TERM }: NodeJS.ProcessEnv): string {
  return TERM !== undefined && /^[\w.+-]{1,64}$/.test(TERM) ? TERM : "dumb";
}
