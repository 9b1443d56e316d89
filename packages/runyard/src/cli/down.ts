import { setTimeout as sleep } from "node:timers/promises";
import { RunyardClient } from "@runyard/sdk";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { DEFAULT_STOP_TIMEOUT, parseStopTimeout } from "../configuration.ts";
import { defaultHomeRoot, type Home, homeAt } from "../home.ts";
import { isAlive, signalProcess } from "../process-identity.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { type LocalServer, localServer } from "./local-server.ts";
import { plural, printJson, roughDuration, say } from "./output.ts";
import { DRAIN_SIGNAL } from "./stopping.ts";

/** How long runs and then the server may take to end. */
const PATIENCE_MS = 20_000;
/** How long a server that refuses, because it leaves, may take to be gone. */
const LEAVING_MS = 5_000;

export const down = command("down", {
  summary: "End everything of Runyard on this machine",
  group: GROUP.server,
  more: "Ends runs, server, gateway and PostgreSQL. Living runs are cancelled and say so in their logs; what waits for a person without an agent waits on. Logs, results and branches stay. Nothing running is no error. With --drain, runs in hand are waited for first: no further ones are begun, and queued ones stay queued.",
  examples: ["runyard down", "runyard down --drain --timeout 3600", "runyard down --json"],
})
  .option("--drain", "wait until the runs in hand have ended, those that wait for a person included")
  .option("--timeout <seconds>", `how long --drain waits; what runs then is cancelled (default: ${DEFAULT_STOP_TIMEOUT})`, secondsOf)
  .addOption(jsonOption())
  .action(async (options: DownOptions) => {
    if (options.timeout !== undefined && options.drain !== true)
      throw new CliError("--timeout says how long --drain waits.", { advice: "Give --drain too.", exitCode: EXIT.usage });
    const home = homeAt(defaultHomeRoot());
    const { endLeftRuns, livingAttempts, stopHost } = await import("../main.ts");
    const server = localServer(home);
    let cancelledRuns = 0;
    const drained = server !== null && options.drain === true && (await drain(server, (options.timeout ?? DEFAULT_STOP_TIMEOUT) * 1000));
    if (server !== null && !drained) {
      cancelledRuns = await cancelLiving(home, server, { drains: options.drain === true, livingAttempts }).catch((error: unknown) => {
        say(`The server could not cancel its runs, so they are killed. It said: ${(error as Error).message}`);
        return 0;
      });
      signalProcess(server, "SIGTERM");
      await waitForEnd(home, server);
    }
    const killedRuns = await endLeftRuns(home);
    const hadMore = await stopHost(home);
    const report = { server: server === null ? null : server.pid, drained, cancelledRuns, killedRuns };
    if (options.json === true) printJson(report);
    else if (server === null && killedRuns === 0 && !hadMore) say("Nothing was running.");
    else {
      const ended = cancelledRuns + killedRuns;
      say(`Stopped${ended > 0 ? `, and ended ${plural(ended, "living run")}` : ""}. Logs and results stay in ${home.root}`);
    }
  });

interface DownOptions {
  readonly drain?: boolean;
  readonly timeout?: number;
  readonly json?: boolean;
}

function secondsOf(text: string): number {
  try {
    return parseStopTimeout(text);
  } catch (error) {
    throw new CliError((error as Error).message, { advice: "Correct --timeout.", exitCode: EXIT.usage });
  }
}

/** Lets the server leave once its runs have ended; false where they have not in that time. */
async function drain(server: LocalServer, timeoutMs: number): Promise<boolean> {
  signalProcess(server, DRAIN_SIGNAL);
  say(`Waiting until the runs in hand have ended, for at most ${roughDuration(timeoutMs)}…`);
  for (const giveUpAt = Date.now() + timeoutMs; Date.now() < giveUpAt; await sleep(100)) if (!isAlive(server)) return true;
  say("Not all have, so they are cancelled.");
  return false;
}

/**
 * Cancels what is at work here, so that it ends with a reason in its log. What waits without an agent waits on: in the
 * queue, for answers, for a decision about a plan. Where there are other runners, what has no place in this home is
 * theirs. A server that drains leaves when the last of them has
 * ended, in the middle of this.
 */
async function cancelLiving(
  home: Home,
  server: LocalServer,
  options: { readonly drains: boolean; readonly livingAttempts: (home: Home) => string[] },
): Promise<number> {
  const client = new RunyardClient({ baseUrl: server.url, token: readFileSync(home.adminTokenFile, "utf8").trim() });
  const gone = new AbortController();
  const watch = setInterval(() => isAlive(server) || gone.abort(), 50);
  const { signal } = gone;
  let cancelled = 0;
  try {
    const { role, runners } = await client.status({ signal });
    const isAlone = role !== "api" && runners.length < 2;
    for (const status of ["running", "awaiting_input"] as const) {
      for await (const run of client.runs.list({ status, limit: 100 }, { signal })) {
        const place = path.join(home.runsDir, run.id, String(run.attempt));
        // Nobody has it in hand here.
        if ((run as Partial<typeof run>).checks?.waiting === true) continue;
        const isOurs = status === "awaiting_input" ? options.livingAttempts(home).includes(place) : isAlone || existsSync(place);
        if (!isOurs) continue;
        await client.runs.cancel(run.id, { signal }).catch(() => undefined);
        cancelled += 1;
        await client.runs.waitForEnd(run.id, { signal });
      }
    }
  } catch (error) {
    // A server that is leaving refuses first, and is gone then.
    for (const giveUpAt = Date.now() + (options.drains ? LEAVING_MS : 0); isAlive(server) && Date.now() < giveUpAt;) await sleep(50);
    if (isAlive(server)) throw error;
  } finally {
    clearInterval(watch);
  }
  return cancelled;
}

async function waitForEnd(home: Home, server: LocalServer): Promise<void> {
  for (const giveUpAt = Date.now() + PATIENCE_MS; isAlive(server); await sleep(25)) {
    if (Date.now() > giveUpAt) {
      throw new CliError(`The server (pid ${server.pid}) does not end.`, {
        advice: `Look at ${home.logsDir}, or end it with kill -9 and call \`runyard down\` again.`,
      });
    }
  }
}
