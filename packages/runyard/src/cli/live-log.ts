import { isTerminal, isTerminalEventType, money, type Run, type RunEvent } from "@runyard/sdk/contract";
import { count, type Paint, paintFor, roughDuration } from "./output.ts";
import { eventRenderer } from "./render-event.ts";
import { openScreen, type Output, proseWidthOf } from "./screen.ts";

/** How often the elapsed time is drawn anew, in milliseconds. */
const TICK_MS = 1_000;

/** Stand among open requests for the plan and for the approval: a run has one at most. */
const PLAN = "plan";
const APPROVAL = "approval";

/** A run's log as it comes, with a line at the bottom of a terminal that says where the run stands. */
export interface LiveLog {
  show(event: RunEvent): void;
  /** A line of Runyard's own among them. */
  note(line: string): void;
  /** Where the run stands in the queue, while it does. */
  queued(place: string | null): void;
  /** Takes the line at the bottom away while something else uses the terminal. */
  pause(): void;
  resume(): void;
  close(): void;
}

export function openLiveLog(stream: Output, run: Run, options: { readonly verbose: boolean }): LiveLog {
  const paint = paintFor(stream);
  const screen = openScreen(stream);
  const renderer = eventRenderer(paint, { verbose: options.verbose, width: proseWidthOf(stream) });
  const state = standOf(run);
  let isPaused = false;

  const draw = (): void => screen.setStatus(isPaused || state.hasEnded ? null : statusLine(state, paint));
  const timer = setInterval(draw, TICK_MS).unref();
  draw();
  return {
    show(event) {
      follow(state, event);
      const text = renderer.render(event);
      if (text !== "") screen.write(text);
      draw();
    },
    queued(place) {
      state.queued = place;
      draw();
    },
    note: (line) => screen.write(`${line}\n`),
    pause() {
      isPaused = true;
      draw();
    },
    resume() {
      isPaused = false;
      draw();
    },
    close() {
      clearInterval(timer);
      screen.close();
    },
  };
}

interface Stand {
  readonly beganAtMs: number;
  phase: string;
  /** Its place in the queue, in words. */
  queued: string | null;
  tokens: number | null;
  /** US dollars, as far as they are known. */
  costUsd: number | null;
  /** Open permissions and questions, an open plan, and an open approval. */
  readonly waiting: Set<string>;
  hasEnded: boolean;
}

function standOf(run: Run): Stand {
  return {
    // A later turn begins with the change that made it.
    beganAtMs: Date.parse(run.turn > 1 ? run.updatedAt : (run.startedAt ?? run.createdAt)),
    phase: run.phase,
    queued: null,
    tokens: null,
    costUsd: null,
    waiting: new Set(),
    hasEnded: isTerminal(run.status),
  };
}

function follow(state: Stand, event: RunEvent): void {
  if (event.type === "run.phase") state.phase = event.data.phase;
  else if (event.type === "run.retrying") state.phase = "waits to try again";
  else if (event.type === "usage.updated") {
    state.tokens = (event.data.inputTokens ?? 0) + (event.data.outputTokens ?? 0);
    state.costUsd = event.data.costUsd ?? null;
  } else if (event.type === "permission.requested" && event.data.decidedBy === "person") state.waiting.add(event.data.permissionId);
  else if (event.type === "permission.resolved") state.waiting.delete(event.data.permissionId);
  else if (event.type === "question.asked") state.waiting.add(event.data.questionId);
  else if (event.type === "question.answered") state.waiting.delete(event.data.questionId);
  else if (event.type === "approval.requested") state.waiting.add(APPROVAL);
  else if (event.type === "approval.granted") state.waiting.delete(APPROVAL);
  else if (event.type === "plan.proposed") state.waiting.add(PLAN);
  else if (event.type === "plan.approved" || event.type === "plan.revised") {
    state.waiting.delete(PLAN);
    state.phase = "queued";
  } else if (isTerminalEventType(event.type)) state.hasEnded = true;
}

function waitsFor({ waiting }: Stand): string {
  if (waiting.has(PLAN)) return "waits for a decision about its plan";
  return waiting.has(APPROVAL) ? "waits for an approval" : "waits for an answer";
}

function statusLine(state: Stand, paint: Paint): string {
  const elapsed = roughDuration(Math.max(0, Date.now() - state.beganAtMs));
  const tokens = state.tokens === null ? "" : ` · ${count(state.tokens)} tokens`;
  const cost = state.costUsd ? ` · ${money(state.costUsd)}` : "";
  const what = state.waiting.size > 0 ? paint("yellow", waitsFor(state)) : paint("cyan", state.queued ?? state.phase);
  return `${what}${paint("dim", ` · ${elapsed}${tokens}${cost}`)}`;
}
