import { begin, type ConversationSpec, type ConversationState } from "../agents/acp/conversation.ts";
import { retell } from "../agents/acp/retell.ts";
import { readOutOfMemoryKills } from "../sandbox/cgroup.ts";
import { normalizePolicy } from "../core/permission-policy.ts";
import { killRunDirectory } from "../sandbox/kill.ts";
import { isShimAlive, readExitCode } from "../sandbox/run-directory.ts";
import { promptOf, type RunRow } from "../store/run-row.ts";
import { type AgentInput, openAgentInput } from "./agent-input.ts";
import { pathsInside, profileOf, startAgent } from "./agent-launch.ts";
import { type AgentOutput, openAgentOutput } from "./agent-output.ts";
import { type AttemptState, attemptState, type TurnState } from "./attempt-state.ts";
import { concludeTurn, type Ending } from "./conclude-turn.ts";
import type { RunnerContext } from "./context.ts";
import { termsFor } from "./current-policy.ts";
import { digest } from "./digest.ts";
import { Detached, type RunHandle } from "./run-handle.ts";
import { turnBell } from "./turn-bell.ts";

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
    prompt: promptOf(row),
    ...earlierOf(row),
    attempt: row.attempt,
    policy: normalizePolicy(row.spec.permissionPolicy),
    profileQuirks: profileOf(ctx, row).quirks,
  };
  const token = ctx.gatewayToken(row);
  await ctx.gateway.openRun({ runId: row.id, token, model: row.spec.model, simulated: row.simulated });

  let { turn } = attemptState(row);
  if (turn === undefined) {
    const first = begin(spec);
    turn = { conversation: first.state, lastError: null, before: { calls: row.usage.modelCalls, failed: row.usage.failedModelCalls } };
    await handle.commit({
      lines: first.lines,
      events: first.events,
      change: { state: { ...attemptState(row), turn } satisfies AttemptState },
    });
  }
  const dir = await startAgent(ctx, row);
  const output = openAgentOutput({ dir, exchangesFile: ctx.gateway.exchangesFile(row.id), row: handle.row });
  const input = openAgentInput(ctx, handle, dir);
  try {
    const redact = redactor(token);
    const ending = await follow(ctx, handle, { spec, turn, dir, output, input, end, redact });
    const oomKills = readOutOfMemoryKills(dir);
    // Whatever the agent left running goes before its work is committed; of a lost one everything.
    await killRunDirectory(dir);
    await concludeTurn(handle, { dir, ending: { ...ending, oomKills }, redact });
  } finally {
    output.close();
    input.close();
  }
}

/** What the turn goes on with, where it is not the first. */
function earlierOf({ task, prompt, carry }: RunRow): Pick<ConversationSpec, "earlier"> {
  if (carry === null || prompt === null) return {};
  const retold = retell({ task, lastPrompt: carry.prompt, lastWords: carry.lastWords, prompt });
  return { earlier: { sessionId: carry.sessionId, retold } };
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

/** Turns the agent's journal into the run's log until the agent has ended and everything of it is committed. */
async function follow(ctx: RunnerContext, handle: RunHandle, following: Following): Promise<Omit<Ending, "oomKills">> {
  const { spec, dir, output, input, end, redact } = following;
  let { turn } = following;
  const bell = turnBell(ctx, { runId: handle.row.id, dir, end });
  const dismissal = dismissOnce(ctx, dir, input);
  const lastCalls = deadline(ctx, LAST_CALLS_MS);
  try {
    for (;;) {
      bell.reset();
      if (end.aborted) throw end.reason;
      if (ctx.leaving.aborted) throw new Detached();
      // First look whether it has ended, then drain: the other order loses the tail.
      const code = readExitCode(dir);
      const gone = code !== null || !isShimAlive(dir);
      if (bell.takeControl()) await input.flush();
      const { more } = output.read();
      const batch = output.due(ctx.now(), { flush: gone });
      if (batch !== null) {
        const terms = await termsFor(ctx, handle, { spec, lines: batch.lines });
        turn = await digest(handle, { batch, spec: terms, turn, redact, dir });
        await input.flush();
      } else if (gone && !more && (output.openCalls === 0 || lastCalls.hasPassed())) {
        return { turn, code: readExitCode(dir), dismissed: dismissal.done };
      } else if (!more) {
        if (!gone && isOver(turn.conversation)) await dismissal.go();
        await bell.wait(output.heldMs(ctx.now()));
      }
    }
  } finally {
    bell.close();
  }
}

function isOver(conversation: ConversationState): boolean {
  return conversation.phase === "ended" || conversation.phase === "broken";
}

/** Closes the stdin of an agent whose turn is over, and kills it when it does not leave. */
function dismissOnce(ctx: RunnerContext, dir: string, input: AgentInput): { readonly done: boolean; go(): Promise<void> } {
  const patience = deadline(ctx, LEAVE_MS);
  let done = false;
  return {
    get done() {
      return done;
    },
    async go() {
      if (!done) input.closeStdin();
      done = true;
      if (patience.hasPassed()) await killRunDirectory(dir);
    },
  };
}

/** A time that begins to run when it is first asked for. */
function deadline(ctx: RunnerContext, ms: number): { hasPassed(): boolean } {
  let startedAt: number | null = null;
  return {
    hasPassed() {
      startedAt ??= ctx.now();
      return ctx.now() - startedAt >= ms;
    },
  };
}
