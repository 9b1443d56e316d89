// A runner that does no work, in a process of its own on the database of the test that started it: claims,
// holds what it claimed for a moment, ends it, and puts a new run into the queue, until stdin ends. Then it
// prints how many it claimed.
import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent } from "@runyard/sdk/contract";
import { openDatabase } from "../store/database.ts";
import { claimRun, commitStep } from "../store/runs.ts";
import { queueRun } from "./queue-run.ts";

const HANDS = 6;

const name = process.env["CLAIMER"] ?? "";
const orgId = process.env["CLAIMER_ORG"] ?? "";
const db = openDatabase({ connectionString: process.env["DATABASE_URL"] ?? "", applicationName: `runyard-test-${name}` });
const events: readonly NewEvent[] = [{ type: "run.started", data: { runnerId: name } }];
let leaving = false;
let claimed = 0;
let serial = 0;

async function work(hand: number): Promise<void> {
  while (!leaving) {
    const run = await claimRun(db, { owner: `${name}-${hand}`, runnerId: name, events });
    if (run === undefined) {
      await sleep(1);
      continue;
    }
    claimed += 1;
    await sleep(Math.random() * 10);
    if ((await commitStep(db, { run, change: { status: "completed" } })) === undefined) throw new Error(`${run.id} was taken away`);
    await queueRun(db, { orgId, id: `run_${name}_${(serial += 1)}` });
  }
}

const hands = Array.from({ length: HANDS }, (_, hand) => work(hand));
process.stdout.write("ready\n");
process.stdin.resume().once("end", () => (leaving = true));
await Promise.all(hands);
await db.close();
process.stdout.write(`${claimed}\n`);
process.exit(0);
