import { RunyardApiError, type RunyardClient } from "@runyard/sdk";
import { parseEvent, type PendingRequest, type Run, type RunEvent } from "@runyard/sdk/contract";
import { createInterface } from "node:readline/promises";
import { EXIT } from "./exit-codes.ts";
import { type LiveLog, openLiveLog } from "./live-log.ts";
import { noteOpenPlan } from "./open-plan.ts";
import { jsonText, paintFor, say } from "./output.ts";
import { watchQueue } from "./queue.ts";
import { answerCommand, renderEnd, renderHead } from "./render-run.ts";
import { isLive, proseWidthOf } from "./screen.ts";

/** How often is looked whether a question at the terminal is still open, in milliseconds. */
const LOOK_MS = 1_000;

/** What a log holds while its run is queued. */
const BEFORE_START: ReadonlySet<string> = new Set(["run.created", "message.user", "notice"]);

export interface FollowOptions {
  readonly json: boolean;
  readonly ndjson: boolean;
  readonly verbose: boolean;
  /** Events behind this seq; default: all. */
  readonly after?: number;
  /** False: without the commands that look at the result, for a server that is about to leave. */
  readonly hints?: boolean;
}

/**
 * Shows a run live until its turn has ended, asks the person at a terminal what the agent asks, and
 * returns the run. Ctrl-C cancels the run; a second Ctrl-C leaves it running.
 */
export async function followRun(client: RunyardClient, first: Run, options: FollowOptions): Promise<Run> {
  const paint = paintFor(process.stderr);
  const width = proseWidthOf(process.stderr);
  const quiet = options.ndjson || options.json;
  if (!quiet) say(renderHead(first, paint, width));
  const log = quiet ? null : openLiveLog(process.stderr, first, options);
  const interrupt = cancelOnInterrupt(client, first.id, log === null ? say : log.note);
  const queue = log !== null && first.queuePosition !== null && isLive(process.stderr) ? watchQueue(client, first.id, log.queued) : null;
  try {
    for await (const event of client.runs.events(first.id, { after: options.after ?? 0, signal: interrupt.signal })) {
      if (options.ndjson) process.stdout.write(`${jsonText(event)}\n`);
      const known = parseEvent(event);
      if (known !== undefined && !BEFORE_START.has(known.type)) queue?.close();
      if (known !== undefined && log !== null) await showEvent(client, known, log);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    queue?.close();
    log?.close();
    interrupt.close();
  }
  const run = await client.runs.get(first.id);
  if (!quiet && run.finishedAt !== null) say(renderEnd(run, { paint, width, hints: options.hints ?? true }));
  return run;
}

async function showEvent(client: RunyardClient, event: RunEvent, log: LiveLog): Promise<void> {
  // Whoever follows has just said it, and the head of the run has it.
  if (event.type !== "message.user") log.show(event);
  await noteOpenPlan(client, event, { paint: paintFor(process.stderr), width: proseWidthOf(process.stderr), note: log.note });
  if (event.type === "approval.requested" || event.type === "result.held")
    await askPerson(client, { runId: event.runId, kind: "approval", id: event.data.approvalId, log });
  if (event.type === "permission.requested" && event.data.decidedBy === "person")
    await askPerson(client, { runId: event.runId, kind: "permission", id: event.data.permissionId, log });
  if (event.type === "question.asked") await askPerson(client, { runId: event.runId, kind: "question", id: event.data.questionId, log });
}

/** The exit code that a run's end stands for. */
export function exitCodeOf(run: Run): number {
  if (run.status === "completed") return EXIT.ok;
  return run.status === "cancelled" ? EXIT.refused : EXIT.failed;
}

interface Question {
  readonly runId: string;
  readonly kind: PendingRequest["kind"];
  /** Of the permission, the question or the approval. */
  readonly id: string;
  readonly log: LiveLog;
}

const PROMPTS: Readonly<Record<PendingRequest["kind"], string>> = {
  approval: "    let it begin? [y/N] ",
  permission: "    allow it? [y/N] ",
  question: "    your answer: ",
};

function promptFor({ kind, files }: PendingRequest): string {
  return files === undefined ? PROMPTS[kind] : "    publish it? [y/N] ";
}

/** Asks at a terminal; without one, says which command answers. A request that policy or somebody else answered is not asked. */
async function askPerson(client: RunyardClient, { runId, kind, id, log }: Question): Promise<void> {
  const run = await client.runs.get(runId);
  const request = run.waitingFor.find((one) => one.id === id);
  if (request === undefined) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    log.note(`    ${answerCommand(runId, { kind, id }, run.waitingFor.length > 1)}`);
    return;
  }
  log.pause();
  const isOpen = async (): Promise<boolean> => (await client.runs.get(runId)).waitingFor.some((one) => one.id === id);
  try {
    const answer = await askAtTerminal(promptFor(request), isOpen);
    if (answer === null) return;
    const isYes = /^y(es)?$/i.test(answer);
    if (kind === "approval") await (isYes ? client.runs.approve(runId) : client.runs.reject(runId));
    else if (kind === "permission") await client.runs.answerPermission(runId, id, isYes ? "allow" : "deny");
    else await client.runs.answerQuestion(runId, id, answer || "(no answer)");
  } catch (error) {
    // Somebody else may have answered, or ended the run: then the log goes on and says so.
    if (!RunyardApiError.is(error) || error.status !== 409) throw error;
    log.note(`    ${error.message}`);
  } finally {
    log.resume();
  }
}

/** What was typed; null when Ctrl-C was, or when there is nothing to answer any more. */
async function askAtTerminal(prompt: string, isOpen: () => Promise<boolean>): Promise<string | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const leave = new AbortController();
  // readline takes Ctrl-C for itself; here it means what it means everywhere.
  terminal.once("SIGINT", () => {
    leave.abort();
    process.emit("SIGINT");
  });
  terminal.once("close", () => leave.abort());
  // Somebody else may answer, or the run may end: the log says so, and nobody waits for a key.
  const look = setInterval(() => {
    isOpen().then(
      (open) => (open ? undefined : leave.abort()),
      () => undefined,
    );
  }, LOOK_MS);
  try {
    return (await terminal.question(prompt, { signal: leave.signal })).trim();
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    process.stderr.write("\n");
    return null;
  } finally {
    clearInterval(look);
    terminal.close();
  }
}

function cancelOnInterrupt(
  client: RunyardClient,
  runId: string,
  tell: (line: string) => void,
): { readonly signal: AbortSignal; close(): void } {
  const leave = new AbortController();
  let times = 0;
  const onInterrupt = (): void => {
    times += 1;
    process.exitCode = EXIT.interrupted;
    if (times > 1) {
      tell(`The run goes on. See it with: runyard events ${runId}`);
      leave.abort();
      return;
    }
    tell("Cancelling the run… (Ctrl-C again to leave it running)");
    client.runs.cancel(runId).catch((error: unknown) => tell(`The run could not be cancelled: ${(error as Error).message}`));
  };
  process.on("SIGINT", onInterrupt);
  return { signal: leave.signal, close: () => void process.off("SIGINT", onInterrupt) };
}
