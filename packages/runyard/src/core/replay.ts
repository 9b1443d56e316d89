import type { Divergence, RunStatus } from "@runyard/sdk/contract";
import { withoutIncidentals } from "./incidentals.ts";

/** Most characters that are shown of a value that differs, and how many of them stand before the difference. */
const MAX_SHOWN_CHARS = 500;
const CHARS_BEFORE = 120;

/** Where two requests differ first, and what is there. */
export type Difference = Pick<Divergence, "path" | "recorded" | "replayed">;

/** A request as it went over the wire, and the run that made it. */
export interface RequestOfRun {
  readonly runId: string;
  readonly body: string;
}

/** Where the request of a replay differs from the recorded one, but for what differs by nature; null: nowhere. */
export function firstDifference(recorded: RequestOfRun, replayed: RequestOfRun): Difference | null {
  return differenceIn(plainRequest(recorded), plainRequest(replayed), "");
}

/** What is no JSON is compared as text. */
function plainRequest({ runId, body }: RequestOfRun): unknown {
  try {
    return withoutIncidentals(JSON.parse(body) as unknown, runId);
  } catch {
    return withoutIncidentals(body, runId);
  }
}

function differenceIn(recorded: unknown, replayed: unknown, path: string): Difference | null {
  if (isObject(recorded) && isObject(replayed) && Array.isArray(recorded) === Array.isArray(replayed)) {
    const step = (name: string): string => (Array.isArray(recorded) ? `${path}[${name}]` : `${path}${path === "" ? "" : "."}${name}`);
    for (const name of new Set([...Object.keys(recorded), ...Object.keys(replayed)])) {
      const difference = differenceIn(recorded[name], replayed[name], step(name));
      if (difference !== null) return difference;
    }
    return null;
  }
  if (recorded === replayed) return null;
  const [one, other] = [textOf(recorded), textOf(replayed)];
  const at = firstDifferentChar(one ?? "", other ?? "");
  return { path: path === "" ? "$" : path, recorded: shownAround(one, at), replayed: shownAround(other, at) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Null where there is nothing. */
function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? null);
}

function firstDifferentChar(one: string, other: string): number {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at += 1;
  return at;
}

function shownAround(text: string | null, at: number): string | null {
  if (text === null) return null;
  const start = at <= CHARS_BEFORE ? 0 : at - CHARS_BEFORE;
  const end = start + MAX_SHOWN_CHARS;
  return `${start > 0 ? "…" : ""}${text.slice(start, end)}${end < text.length ? "…" : ""}`;
}

/** How a turn ended: `tree` names the files that it left; null: nobody knows. */
export interface TurnEnd {
  readonly status: RunStatus;
  readonly tree: string | null;
}

/** Whether a replay came to what was recorded; null where that cannot be told. */
export function isSameResult(recorded: TurnEnd, replayed: TurnEnd): boolean | null {
  if (recorded.status !== replayed.status) return false;
  if (recorded.status !== "completed") return true;
  return recorded.tree === null || replayed.tree === null ? null : recorded.tree === replayed.tree;
}

/** What a replay that ended after `calls` model calls lacks; null: it made as many as were recorded. */
export function missingCall(recorded: number, calls: number): Divergence | null {
  if (calls >= recorded) return null;
  return { kind: "missing-call", exchange: calls + 1, exchangeId: null, path: null, recorded: null, replayed: null };
}

/** Why a call of a replay gets no answer, in words for the agent and for people. */
export function refusalWords({ kind, exchange }: Pick<Divergence, "kind" | "exchange">): string {
  if (kind === "not-recorded") return `The recording of exchange ${exchange} is not whole, so the replay cannot be answered and ends here.`;
  return exchange === 1
    ? "No model call of this kind is recorded, so the replay cannot be answered and ends here."
    : `The replay asks once more than was recorded (exchange ${exchange}), so it cannot be answered and ends here.`;
}

/** Something that an agent asked people, with their answer; null: there is none (yet). */
interface Asked {
  readonly kind: "permission" | "question";
  readonly title: string;
  readonly answer: string | null;
  /** null: open. */
  readonly closed_at: string | null;
}

/** For what is open in a replay, the same request of the recorded run with its answer: the first time goes by the first time, and so on. */
export function recordedAnswers<T extends Asked>(asked: readonly T[], recorded: readonly T[]): { readonly own: T; readonly as: T }[] {
  const same =
    (one: T): ((other: T) => boolean) =>
    (other) =>
      other.kind === one.kind && other.title === one.title;
  return asked.flatMap((own, index) => {
    const times = asked.slice(0, index).filter(same(own)).length;
    const as = recorded.filter(same(own))[times];
    return own.closed_at !== null || as === undefined || as.answer === null ? [] : [{ own, as }];
  });
}
