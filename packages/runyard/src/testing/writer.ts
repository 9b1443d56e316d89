// A runner without anything to run, for tests, in a process of its own: it holds its lease, has runs in hand, and
// commits steps of all of them as fast as it can, which it says, until each commit is refused. Then it prints how many
// were made, and ends with its stdin.
import { setTimeout as sleep } from "node:timers/promises";
import { DatabaseUnavailableError, openDatabase } from "../store/database.ts";
import { holdRunnerLease } from "../store/runner-lease.ts";
import type { RunRow } from "../store/run-row.ts";
import { claimRun, commitStep, reloadRun } from "../store/runs.ts";

const runnerId = process.env["WRITER"] ?? "";
const connectionString = process.env["DATABASE_URL"] ?? "";
const owner = `${runnerId}-${process.pid}`;
const db = openDatabase({ connectionString, applicationName: `runyard-test-${runnerId}` });
const runs: RunRow[] = [];
while (runs.length < Number(process.env["WRITER_RUNS"])) {
  const run = await claimRun(db, { owner, runnerId, events: [] });
  if (run === undefined) await sleep(5);
  else runs.push(run);
}
const leaseMs = Number(process.env["WRITER_LEASE_MS"]);
const lease = await holdRunnerLease({ connectionString, runnerId, owner, leaseMs, offers: async () => ({}), onLog: () => undefined });

let commits = 0;

async function write(first: RunRow): Promise<void> {
  for (let run = first; ; commits += 1) {
    const step = commitStep(db, { run, outTo: run.out_cursor + 1, events: [{ type: "log", data: { text: owner } }] });
    // As a runner does: whoever was cut off in the middle looks whether the run is still its own.
    const after = await step.catch((error: unknown) => {
      if (error instanceof DatabaseUnavailableError) return reloadRun(db, run);
      throw error;
    });
    if (after?.owner !== owner || after.attempt !== first.attempt) return;
    run = after;
    if (commits === 5 * runs.length) process.stdout.write("ready\n");
  }
}

await Promise.all(runs.map(write));
process.stdout.write(`${JSON.stringify({ fenced: runs.length, commits })}\n`);
process.stdin.resume().once("end", () => {
  void lease
    .close()
    .then(() => db.close())
    .then(() => process.exit(0));
});
