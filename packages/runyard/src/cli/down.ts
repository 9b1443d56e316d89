import { setTimeout as sleep } from "node:timers/promises";
import { RunyardClient } from "@runyard/sdk";
import { readFileSync } from "node:fs";
import { defaultHomeRoot, type Home, homeAt } from "../home.ts";
import { endLeftRuns, livingServer, stopHost } from "../main.ts";
import { command, jsonOption } from "./commands.ts";
import { CliError } from "./exit-codes.ts";
import { plural, printJson, say } from "./output.ts";

/** How long runs and then the server may take to end. */
const PATIENCE_MS = 20_000;

export const down = command("down", "End everything of Runyard on this machine: runs, server, gateway, PostgreSQL")
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const home = homeAt(defaultHomeRoot());
    const server = livingServer(home);
    let cancelledRuns = 0;
    if (server !== null) {
      cancelledRuns = await cancelLiving(
        new RunyardClient({ baseUrl: server.url, token: readFileSync(home.adminTokenFile, "utf8").trim() }),
      );
      process.kill(server.pid, "SIGTERM");
      await waitForEnd(home);
    }
    const killedRuns = await endLeftRuns(home);
    await stopHost(home);
    const report = { server: server === null ? null : server.pid, cancelledRuns, killedRuns };
    if (options.json === true) printJson(report);
    else if (server === null && killedRuns === 0) say("Nothing was running.");
    else
      say(
        `Stopped${cancelledRuns + killedRuns > 0 ? `, and ended ${plural(cancelledRuns + killedRuns, "living run")}` : ""}. Logs and results stay in ${home.root}.`,
      );
  });

/** Cancels what runs or waits, so that it ends with a reason in its log; queued runs stay queued. */
async function cancelLiving(client: RunyardClient): Promise<number> {
  let cancelled = 0;
  for (const status of ["running", "awaiting_input"] as const) {
    for await (const run of client.runs.list({ status, limit: 100 })) {
      await client.runs.cancel(run.id).catch(() => undefined);
      await client.runs.waitForEnd(run.id);
      cancelled += 1;
    }
  }
  return cancelled;
}

async function waitForEnd(home: Home): Promise<void> {
  for (const giveUpAt = Date.now() + PATIENCE_MS; livingServer(home) !== null; await sleep(25)) {
    if (Date.now() > giveUpAt)
      throw new CliError(`The server (pid ${livingServer(home)?.pid}) does not end. Look at ${home.logsDir}, or end it with kill -9.`);
  }
}
