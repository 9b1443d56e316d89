import { setImmediate } from "node:timers/promises";
import { begin, type ConversationSpec, type ConversationState } from "../agents/acp/conversation.ts";
import { readOutOfMemoryKills } from "../sandbox/cgroup.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import { isShimAlive, readExitCode } from "../sandbox/run-directory.ts";
import { attemptSettings } from "../store/attempts-shown.ts";
import type { RunRow } from "../store/run-row.ts";
import { type AgentInput, openAgentInput } from "./agent-input.ts";
import { agentDir, profileOf, startAgent } from "./agent-launch.ts";
import { type AgentOutput, openAgentOutput } from "./agent-output.ts";
import { conversationSpec, redactor } from "./agent-session.ts";
import { requireBudget } from "./budget.ts";
import { type AttemptState, attemptState, type TurnState } from "./attempt-state.ts";
import { type Ending, enterPublishing, requireSuccess } from "./conclude-turn.ts";
import type { RunnerContext } from "./context.ts";
import { termsFor } from "./current-policy.ts";
import { digest } from "./digest.ts";
import { openAtGateway } from "./gateway-run.ts";
import { leaveAsking, questionsOf } from "./leave-asking.ts";
import { hasLostHolder } from "./overlay-workspace.ts";
import { renewalOf } from "./own-login.ts";
import { requireAnswers } from "./replay.ts";
import { answerAsRecorded } from "./replay-answers.ts";
import { Detached, ReleaseRequest, type RunHandle } from "./run-handle.ts";
import { turnBell } from "./turn-bell.ts";
import { watchUsage } from "./watch-usage.ts";
import { withdrawRequests } from "./withdraw-requests.ts";

/** How long an agent may take to leave once its stdin is closed, before it is killed. */
const LEAVE_MS = 5_000;
/** How long the last model calls may take to be journalled once the agent has gone. */
const LAST_CALLS_MS = 3_000;

/**
 * Lets the agent do the run's turn, from wherever it stands. Returns when the turn succeeded and the run is in
 * the phase `publishing`, or, where there is something to verify, in the phase `verifying` with the agent alive
 * and waiting for what comes of it; or when the agent left questions, and the run waits for answers in nobody's
 * hands. Throws RunFailure otherwise.
 */
export async function doTurn(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const isVerified = attemptSettings(handle.row).verify.length > 0;
  await workToEnd(ctx, handle, { end, stays: isVerified });
  if (questionsOf(handle.row).length > 0) {
    if (isVerified) await dismissAgent(ctx, handle, end);
    await leaveAsking(handle, { events: [] });
    await answerAsRecorded(ctx, handle.row);
  } else if (isVerified) await handle.happen({ type: "entered", phase: "verifying" });
  else await enterPublishing(handle);
}

/**
 * Starts the agent or finds it again, and turns its journal into the run's log until its turn is over and has
 * succeeded; throws RunFailure otherwise. Where it does not stay, nothing of it is alive then.
 */
export async function workToEnd(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly end: AbortSignal; readonly stays: boolean },
): Promise<void> {
  const { row } = handle;
  const { end, stays } = options;
  if (attemptState(row).parting === true) throw new ReleaseRequest("The agent was being parted with");
  const spec = conversationSpec(ctx, row);
  await openAtGateway(ctx, row, handle.secrets);
  // It starts while what it is to be told is committed: it is told nothing before, and whoever starts it again finds it.
  const [started, given] = await Promise.allSettled([startAgent(ctx, row, handle.secrets), giveTask(handle, spec)]);
  if (given.status === "rejected") throw given.reason;
  if (started.status === "rejected") throw started.reason;
  const dir = started.value;
  const ending = await followAgent(ctx, handle, { dir, end, stays });
  const oomKills = readOutOfMemoryKills(dir);
  // Whatever the agent left running goes before its work is committed; of a lost one everything.
  if (!stays) await killRunDirectory(dir);
  requireAnswers(handle.row);
  // One that could not enter its workspace says nothing of itself by how it ended.
  const code = ending.code !== 0 && hasLostHolder(ctx.home, row) ? null : ending.code;
  requireSuccess(handle.row, {
    dir,
    ending: { ...ending, code, oomKills },
    redact: redactor(ctx, row, handle.secrets),
    secrets: handle.secrets,
    renewLogin: renewalOf(ctx, row),
  });
  await withdrawRequests(ctx, handle);
}

/** Commits the conversation's first lines, once. */
async function giveTask(handle: RunHandle, spec: ConversationSpec): Promise<void> {
  const { row } = handle;
  if (attemptState(row).turn !== undefined) return;
  const first = begin(spec);
  const turn: TurnState = { conversation: first.state, lastError: null, before: callsBefore(row) };
  await handle.commit({
    lines: first.lines,
    events: first.events,
    change: { state: { ...attemptState(row), turn } satisfies AttemptState },
  });
}

/** Ends an agent whose work is done, with everything that it left running; what it still says goes into the log. */
export async function dismissAgent(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  const dir = agentDir(ctx, handle.row);
  await followAgent(ctx, handle, { dir, end, stays: false });
  await killRunDirectory(dir);
}

/** Model calls up to now, so that a verdict goes by the calls of its own prompt. */
export function callsBefore(row: RunRow): TurnState["before"] {
  return { calls: row.usage.modelCalls, failed: row.usage.failedModelCalls };
}

async function followAgent(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly dir: string; readonly end: AbortSignal; readonly stays: boolean },
): Promise<Omit<Ending, "oomKills">> {
  const { row } = handle;
  const { turn } = attemptState(row);
  if (turn === undefined) throw new Error(`The agent of run ${row.id} has not been given its task yet`);
  const output = openAgentOutput({
    dir: options.dir,
    exchangesFile: ctx.gateway.exchangesFile(row.id),
    row,
    redactor: handle.secrets.redactor,
  });
  const input = openAgentInput(ctx, handle, options.dir);
  const usage = watchUsage(ctx, row, { step: "agent" });
  try {
    const ending = await follow(ctx, handle, {
      ...options,
      end: AbortSignal.any([options.end, usage.full]),
      spec: conversationSpec(ctx, row),
      turn,
      output,
      input,
      redact: redactor(ctx, row, handle.secrets),
    });
    await usage.close();
    usage.full.throwIfAborted();
    return ending;
  } finally {
    output.close();
    input.close();
    await usage.close();
  }
}

interface Following {
  readonly spec: ConversationSpec;
  readonly turn: TurnState;
  readonly dir: string;
  readonly output: AgentOutput;
  readonly input: AgentInput;
  readonly end: AbortSignal;
  readonly redact: (text: string) => string;
  /** Whether the agent stays alive when its turn is over. */
  readonly stays: boolean;
}

/** Turns the agent's journal into the run's log until the agent (or, where it stays, its turn) has ended and everything of it is committed. */
async function follow(ctx: RunnerContext, handle: RunHandle, following: Following): Promise<Omit<Ending, "oomKills">> {
  const { spec, dir, output, input, end, redact, stays } = following;
  let { turn } = following;
  /** Whether the agent has everything that is for it; what people say rings the bell. */
  let isTold = false;
  const bell = turnBell(ctx, { runId: handle.row.id, dir, end });
  const { leaveMs = LEAVE_MS } = profileOf(ctx, handle.row);
  const dismissal = dismissOnce(ctx, { dir, input, leaveMs });
  const lastCalls = deadline(LAST_CALLS_MS);
  const opening = deadline(ctx.agentStartMs);
  try {
    for (;;) {
      bell.reset();
      if (end.aborted) throw end.reason;
      if (ctx.leaving.aborted) throw new Detached();
      // First look whether it has ended, then drain: the other order loses the tail.
      const code = readExitCode(dir);
      const gone = code !== null || !isShimAlive(dir);
      if (bell.takeControl()) {
        await answerAsRecorded(ctx, handle.row);
        isTold = await input.flush();
      }
      const isOpening = !gone && isBeingOpened(turn.conversation);
      if (isOpening && opening.hasPassed()) return { turn, code: null, dismissed: true, overdueMs: ctx.agentStartMs };
      const { more } = output.read();
      const batch = output.due(performance.now(), { flush: gone && !more });
      if (batch !== null) {
        const terms = await termsFor(ctx, handle, { spec, lines: batch.lines });
        const digested = await digest(handle, { batch, spec: terms, turn, redact, dir });
        turn = digested.turn;
        requireBudget(ctx, handle.row);
        await answerAsRecorded(ctx, handle.row);
        isTold = (isTold && !digested.answers) || (await input.flush());
      } else if (gone && !more && (output.openCalls === 0 || lastCalls.hasPassed())) {
        return { turn, code: readExitCode(dir), dismissed: dismissal.done };
      } else if (stays && !more && turn.conversation.phase === "ended" && (output.openCalls === 0 || lastCalls.hasPassed())) {
        return { turn, code: null, dismissed: true };
      } else if (more) {
        // Nothing to store yet: others have their turn all the same.
        await setImmediate();
      } else {
        const patienceMs = !gone && isOver(turn.conversation) ? await dismissal.go() : isOpening ? opening.leftMs() : null;
        await bell.wait(soonest(output.heldMs(performance.now()), patienceMs));
      }
    }
  } finally {
    bell.close();
  }
}

function isBeingOpened(conversation: ConversationState): boolean {
  return conversation.phase === "initializing" || conversation.phase === "opening";
}

function isOver(conversation: ConversationState): boolean {
  return conversation.phase === "ended" || conversation.phase === "broken";
}

function soonest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

/**
 * Closes the stdin of an agent whose turn is over, and kills it when it has not left in time. `go` gives the
 * milliseconds until then; null: that is over.
 */
function dismissOnce(
  ctx: RunnerContext,
  agent: { readonly dir: string; readonly input: AgentInput; readonly leaveMs: number },
): { readonly done: boolean; go(): Promise<number | null> } {
  const { dir, input, leaveMs } = agent;
  const patience = deadline(leaveMs);
  let done = false;
  return {
    get done() {
      return done;
    },
    async go() {
      if (!done) input.closeStdin();
      done = true;
      const leftMs = patience.leftMs();
      if (leftMs > 0) return leftMs;
      await killRunDirectory(dir);
      return null;
    },
  };
}

/** A time that begins to run when it is first asked for; whatever the machine's clock is set to meanwhile. */
function deadline(ms: number): { hasPassed(): boolean; leftMs(): number } {
  let startedAt: number | null = null;
  const leftMs = (): number => {
    startedAt ??= performance.now();
    return startedAt + ms - performance.now();
  };
  return { leftMs, hasPassed: () => leftMs() <= 0 };
}
