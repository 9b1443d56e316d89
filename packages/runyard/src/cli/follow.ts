import type { RunyardClient } from "@runyard/sdk";
import { type EventData, parseEvent, type Run } from "@runyard/sdk/contract";
import { createInterface } from "node:readline/promises";
import { EXIT } from "./exit-codes.ts";
import { paintFor, say } from "./output.ts";
import { eventRenderer } from "./render-event.ts";
import { renderEnd, renderHead } from "./render-run.ts";

export interface FollowOptions {
  readonly json: boolean;
  readonly ndjson: boolean;
  readonly verbose: boolean;
}

/**
 * Shows a run live until its turn has ended, asks the person at a terminal what the agent asks, and
 * returns the run. Ctrl-C cancels the run; a second Ctrl-C leaves it running.
 */
export async function followRun(client: RunyardClient, first: Run, options: FollowOptions): Promise<Run> {
  const paint = paintFor(process.stderr);
  const renderer = eventRenderer(paint, { verbose: options.verbose });
  const quiet = options.ndjson || options.json;
  const interrupt = cancelOnInterrupt(client, first.id);
  try {
    if (!quiet) say(renderHead(first, paint));
    for await (const event of client.runs.events(first.id, { after: 0, signal: interrupt.signal })) {
      if (options.ndjson) process.stdout.write(`${JSON.stringify(event)}\n`);
      const known = parseEvent(event);
      if (known === undefined || quiet) continue;
      process.stderr.write(renderer.render(known));
      if ((known.type === "permission.requested" && known.data.decidedBy === "person") || known.type === "question.asked")
        await askPerson(client, first.id, known);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    interrupt.close();
  }
  const run = await client.runs.get(first.id);
  if (!quiet) say(renderEnd(run, paint));
  return run;
}

/** The exit code that a run's end stands for. */
export function exitCodeOf(run: Run): number {
  if (run.status === "completed") return EXIT.ok;
  return run.status === "cancelled" ? EXIT.refused : EXIT.failed;
}

type Asked =
  | { readonly type: "permission.requested"; readonly data: EventData<"permission.requested"> }
  | { readonly type: "question.asked"; readonly data: EventData<"question.asked"> };

/** Asks at a terminal; without one, says which command answers. A request that policy or somebody else answered is not asked. */
async function askPerson(client: RunyardClient, runId: string, asked: Asked): Promise<void> {
  const id = asked.type === "permission.requested" ? asked.data.permissionId : asked.data.questionId;
  const run = await client.runs.get(runId);
  if (!run.waitingFor.some((request) => request.id === id)) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    say(
      `  The run waits. Answer with: runyard answer ${runId} ${asked.type === "permission.requested" ? "allow  (or deny)" : '"your answer"'}`,
    );
    return;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    if (asked.type === "permission.requested") {
      const answer = await terminal.question("  allow it? [y/N] ");
      await client.runs.answerPermission(runId, id, /^y(es)?$/i.test(answer.trim()) ? "allow" : "deny");
    } else {
      const answer = await terminal.question("  your answer: ");
      await client.runs.answerQuestion(runId, id, answer.trim() || "(no answer)");
    }
  } finally {
    terminal.close();
  }
}

function cancelOnInterrupt(client: RunyardClient, runId: string): { readonly signal: AbortSignal; close(): void } {
  const leave = new AbortController();
  let times = 0;
  const onInterrupt = (): void => {
    times += 1;
    process.exitCode = EXIT.interrupted;
    if (times > 1) {
      say(`\nThe run goes on. See it with: runyard events ${runId}`);
      leave.abort();
      return;
    }
    say("\nCancelling the run… (Ctrl-C again to leave it running)");
    client.runs.cancel(runId).catch((error: unknown) => say(`The run could not be cancelled: ${(error as Error).message}`));
  };
  process.on("SIGINT", onInterrupt);
  return { signal: leave.signal, close: () => void process.off("SIGINT", onInterrupt) };
}
