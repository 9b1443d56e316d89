import { readFileSync } from "node:fs";
import path from "node:path";
import type { NewEvent } from "@runyard/sdk/contract";
import { begin, type ConversationSpec, type ConversationState, receive } from "../agents/acp/conversation.ts";
import { judgeTurn } from "../core/outcome.ts";
import { progressAfter } from "../core/progress.ts";
import { addCall } from "../core/usage.ts";
import { control } from "../engine/wakes.ts";
import type { ExchangeClose } from "../gateway/exchange-journal.ts";
import { readOutOfMemoryKills } from "../sandbox/cgroup.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import { isShimAlive, readExitCode, readShimPid, watchRunDirectory } from "../sandbox/run-directory.ts";
import type { RunChange } from "../store/runs.ts";
import { type AgentInput, openAgentInput } from "./agent-input.ts";
import { pathsInside, profileOf, startAgent } from "./agent-launch.ts";
import { type AttemptState, attemptState, cachePathOf, type TurnState } from "./attempt-state.ts";
import { type AgentOutput, type Batch, openAgentOutput } from "./agent-output.ts";
import type { RunnerContext } from "./context.ts";
import { Detached, type RunHandle, RunFailure } from "./run-handle.ts";

/** How long an agent may take to leave once its stdin is closed, before it is killed. */
const LEAVE_MS = 5_000;
/** How long the last model calls may take to be journalled once the agent has gone. */
const LAST_CALLS_MS = 3_000;

/**
 * Lets the agent do the run's turn, from wherever it stands: starts it or finds it again, and turns its
 * journal into the run's log until it has ended. Returns when the turn succeeded and the run is in the
 * phase `publishing`; throws RunFailure otherwise.
 */
export async function doTurn(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const { row } = handle;
  const spec: ConversationSpec = {
    cwd: pathsInside(ctx, row).workspace,
    prompt: row.task,
    attempt: row.attempt,
    policy: row.spec.permissionPolicy,
    profileQuirks: profileOf(ctx, row).quirks,
  };
  const token = ctx.gatewayToken(row);
  await ctx.gateway.openRun({ runId: row.id, token, model: row.spec.model, simulated: row.simulated });

  let { turn } = attemptState(row);
  if (turn === undefined) {
    const first = begin(spec);
    turn = { conversation: first.state, lastError: null, before: { calls: row.usage.modelCalls, failed: row.usage.failedModelCalls } };
    await handle.commit({ lines: first.lines, events: first.events, change: { state: { ...attemptState(row), turn } satisfies AttemptState } });
  }
  const dir = await startAgent(ctx, row);
  const output = openAgentOutput({ dir, exchangesFile: ctx.gateway.exchangesFile(row.id), row: handle.row });
  const input = openAgentInput(ctx, handle, dir);
  try {
    const ending = await follow(ctx, handle, { spec, turn, dir, output, input, end, redact: redactor(token) });
    await concludeTurn(handle, dir, ending);
  } finally {
    output.close();
    input.close();
  }
}

/** The gateway token of the run is the one secret inside the sandbox; it must not reach the log. */
function redactor(token: string): (text: string) => string {
  return (text) => text.replaceAll(token, "[gateway token]");
}

interface Following {
  readonly spec: ConversationSpec;
  readonly turn: TurnState;
  readonly dir: string;
  readonly output: AgentOutput;
  readonly input: AgentInput;
  readonly end: AbortSignal;
  readonly redact: (text: string) => string;
}

interface Ending {
  readonly turn: TurnState;
  readonly code: number | null;
  readonly lost: boolean;
  /** We closed its stdin after the turn had ended, so its exit says nothing. */
  readonly dismissed: boolean;
  readonly redact: (text: string) => string;
}

async function follow(ctx: RunnerContext, handle: RunHandle, following: Following): Promise<Ending> {
  const { spec, dir, output, input, end, redact } = following;
  let { turn } = following;
  const bell = wakeUps(ctx, { runId: handle.row.id, dir, end });
  let inputDirty = true;
  bell.onControl = () => (inputDirty = true);
  let dismissedAt: number | null = null;
  let goneAt: number | null = null;
  try {
    for (;;) {
      bell.reset();
      if (end.aborted) throw end.reason;
      if (ctx.leaving.aborted) throw new Detached();
      // First look whether it has ended, then drain: the other order loses the tail.
      const code = readExitCode(dir);
      const lost = code === null && !isShimAlive(dir);
      if (inputDirty) {
        inputDirty = false;
        await input.flush();
      }
      const { more } = output.read();
      const gone = code !== null || lost;
      const batch = output.due(ctx.now(), { flush: gone });
      if (batch !== null) {
        turn = await digest(handle, { batch, spec, turn, redact, dir });
        await input.flush();
        continue;
      }
      if (more) continue;
      if (gone) {
        goneAt ??= ctx.now();
        if (output.openCalls === 0 || ctx.now() - goneAt > LAST_CALLS_MS) return { turn, code, lost, dismissed: dismissedAt !== null, redact };
      } else if (isOver(turn.conversation)) {
        if (dismissedAt === null) {
          dismissedAt = ctx.now();
          input.closeStdin();
        } else if (ctx.now() - dismissedAt > LEAVE_MS) await killRunDirectory(dir);
      }
      await bell.wait(output.heldMs(ctx.now()));
    }
  } finally {
    bell.close();
  }
}

function isOver(conversation: ConversationState): boolean {
  return conversation.phase === "ended" || conversation.phase === "broken";
}

/** Decides what a batch means and commits all of it at once: cursors, events, requests, lines, state. */
async function digest(
  handle: RunHandle,
  input: { batch: Batch; spec: ConversationSpec; turn: TurnState; redact: (text: string) => string; dir: string },
): Promise<TurnState> {
  const { batch, spec, turn, redact, dir } = input;
  const lines = batch.lines.map((line) => ("text" in line ? { ...line, text: redact(line.text) } : line));
  const step = receive(turn.conversation, spec, lines);
  const usage = batch.calls.reduce(addCall, handle.row.usage);
  const failed = batch.calls.findLast((call) => !call.ok);
  const next: TurnState = {
    ...turn,
    conversation: step.state,
    lastError: failed === undefined ? turn.lastError : { status: failed.status, message: failed.error ?? "no answer" },
  };
  const events = [...step.events.map((event) => withPid(event, dir)), ...callEvents(batch.calls, usage)];
  const change: RunChange = { state: { ...attemptState(handle.row), turn: next } satisfies AttemptState, usage, ...progressChange(handle.row.percentage, events) };
  await handle.commit({ outTo: batch.outTo, usageTo: batch.usageTo, events, requests: step.requests, lines: step.lines, change });
  return next;
}

/** The pid by which people find the agent on the host: its shim's. */
function withPid(event: NewEvent, dir: string): NewEvent {
  return event.type === "agent.started" ? { ...event, data: { ...event.data, pid: readShimPid(dir)?.pid ?? null } } : event;
}

function callEvents(calls: readonly ExchangeClose[], usage: RunHandle["row"]["usage"]): NewEvent[] {
  if (calls.length === 0) return [];
  const failures = calls
    .filter((call) => !call.ok)
    .map(
      (call): NewEvent => ({
        type: "notice",
        data: { level: "warning", code: "model-call-failed", message: `A model call failed${call.status === null ? "" : ` (${call.status})`}: ${call.error ?? "no answer"}` },
      }),
    );
  return [...failures, { type: "usage.updated", data: { source: calls.some((call) => call.settled === "estimate") ? "estimate" : "gateway", ...usage } }];
}

function progressChange(before: number | null, events: readonly NewEvent[]): { percentage?: number } {
  let percentage = before;
  for (const event of events) if (event.type === "plan.updated") percentage = progressAfter(percentage, event.data.entries);
  return percentage === null || percentage === before ? {} : { percentage };
}

/** Judges a turn that is over: on to publishing, or the reason why not. */
async function concludeTurn(handle: RunHandle, dir: string, ending: Ending): Promise<void> {
  const { turn, code, lost, dismissed, redact } = ending;
  const { conversation, before, lastError } = turn;
  const oomKills = readOutOfMemoryKills(dir);
  if (lost && !dismissed) {
    await killRunDirectory(dir);
    if (conversation.outcome === null) {
      throw new RunFailure({ type: "lost", message: "The agent's supervising process died, so what the agent did last is not known. Start the run again." });
    }
  }
  const { usage } = handle.row;
  const verdict = judgeTurn({
    stopReason: conversation.outcome?.stopReason ?? null,
    error: conversation.outcome?.error ?? null,
    sawOutput: conversation.outcome?.sawOutput ?? false,
    gateway: { calls: usage.modelCalls - before.calls, failed: usage.failedModelCalls - before.failed, lastError },
    exit: dismissed ? null : { code },
    oomKills,
    stderrTail: redact(stderrTail(dir)),
  });
  if (!verdict.ok) throw new RunFailure(verdict.error);
  await handle.happen({ type: "entered", phase: "publishing" }, { change: { state: { cachePath: cachePathOf(handle.row), summary: conversation.outcome?.lastText ?? "" } satisfies AttemptState } });
}

function stderrTail(dir: string): string {
  try {
    return readFileSync(path.join(dir, "err")).subarray(-4_096).toString();
  } catch {
    return "";
  }
}

/** Waiting for news: of the run directory (the agent), of people, of the server's leaving. */
function wakeUps(ctx: RunnerContext, of: { readonly runId: string; readonly dir: string; readonly end: AbortSignal }) {
  let wake: (() => void) | null = null;
  let rung = false;
  const ring = (): void => {
    rung = true;
    wake?.();
  };
  const watch = watchRunDirectory(of.dir, ring);
  const bell = {
    onControl: (): void => {},
    reset(): void {
      rung = false;
    },
    /** Resolves at the next news, and after `heldMs` where pieces are held. */
    async wait(heldMs: number | null): Promise<void> {
      if (rung) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (heldMs !== null) setTimeout(resolve, heldMs);
      });
      wake = null;
    },
    close(): void {
      watch.close();
      unsubscribe();
      for (const signal of [ctx.leaving, of.end]) signal.removeEventListener("abort", ring);
    },
  };
  const unsubscribe = ctx.wakes.subscribe(control(of.runId), () => {
    bell.onControl();
    ring();
  });
  for (const signal of [ctx.leaving, of.end]) signal.addEventListener("abort", ring);
  return bell;
}
