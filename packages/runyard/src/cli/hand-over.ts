import type { RunyardClient } from "@runyard/sdk";
import type { Run } from "@runyard/sdk/contract";
import { exitCodeOf, followRun } from "./follow.ts";
import { print, printJson, say } from "./output.ts";
import { describeQueue } from "./queue.ts";
import { answerCommand } from "./render-run.ts";

/** Options of the commands that give an agent something to do. */
export interface HandOverOptions {
  readonly detach?: boolean;
  readonly verbose?: boolean;
  readonly json?: boolean;
  readonly ndjson?: boolean;
}

/** What follows once an agent was given something to do: watching until the turn has ended, unless that is not wanted. */
export async function handOver(client: RunyardClient, run: Run, options: HandOverOptions & { readonly after: number }): Promise<void> {
  const { after, detach = false, verbose = false, json = false, ndjson = false } = options;
  if (detach) {
    if (json) printJson(run);
    else {
      print(run.id);
      for (const { kind, id, title } of run.waitingFor)
        if (kind === "approval") say(`${title}. Decide with: ${answerCommand(run.id, { kind, id }, false)}`);
      say(`It is ${run.queuePosition === null ? run.status : describeQueue(run)}. Watch it with: runyard events ${run.id}`);
    }
    return;
  }
  const ended = await followRun(client, run, { json, ndjson, verbose, after });
  if (json) printJson(ended);
  process.exitCode ??= exitCodeOf(ended);
}
