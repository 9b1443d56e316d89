import { setTimeout as sleep } from "node:timers/promises";
import { RunyardClient } from "@runyard/sdk";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { defaultHomeRoot, type Home, homeAt } from "../home.ts";
import { isAlive, signalProcess } from "../process-identity.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { CliError } from "./exit-codes.ts";
import { type LocalServer, localServer } from "./local-server.ts";
import { plural, printJson, say } from "./output.ts";

/** How long runs and then the server may take to end. */
const PATIENCE_MS = 20_000;

export const down = command("down", {
  summary: "End everything of Runyard on this machine",
  group: GROUP.server,
  more: "Ends runs, server, gateway and PostgreSQL. Living runs are cancelled and say so in their logs. Logs, results and branches stay. Nothing running is no error.",
  examples: ["runyard down", "runyard down --json"],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const home = homeAt(defaultHomeRoot());
    const { endLeftRuns, stopHost } = await import("../main.ts");
    const server = localServer(home);
    let cancelledRuns = 0;
    if (server !== null) {
      cancelledRuns = await cancelLiving(home, server.url).catch((error: unknown) => {
        say(`The server could not cancel its runs, so they are killed. It said: ${(error as Error).message}`);
        return 0;
      });
      signalProcess(server, "SIGTERM");
      await waitForEnd(home, server);
    }
    const killedRuns = await endLeftRuns(home);
    const hadMore = await stopHost(home);
    const report = { server: server === null ? null : server.pid, cancelledRuns, killedRuns };
    if (options.json === true) printJson(report);
    else if (server === null && killedRuns === 0 && !hadMore) say("Nothing was running.");
    else {
      const ended = cancelledRuns + killedRuns;
      say(`Stopped${ended > 0 ? `, and ended ${plural(ended, "living run")}` : ""}. Logs and results stay in ${home.root}`);
    }
  });

/**
 * Cancels what runs or waits here, so that it ends with a reason in its log; queued runs stay queued. Where there are
 * other runners, what has no place in this home is theirs.
 */
async function cancelLiving(home: Home, baseUrl: string): Promise<number> {
  const client = new RunyardClient({ baseUrl, token: readFileSync(home.adminTokenFile, "utf8").trim() });
  const { role, runners } = await client.status();
  const isAlone = role !== "api" && runners.length < 2;
  let cancelled = 0;
  for (const status of ["running", "awaiting_input"] as const) {
    for await (const run of client.runs.list({ status, limit: 100 })) {
      if (!isAlone && !existsSync(path.join(home.runsDir, run.id, String(run.attempt)))) continue;
      await client.runs.cancel(run.id).catch(() => undefined);
      await client.runs.waitForEnd(run.id);
      cancelled += 1;
    }
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
