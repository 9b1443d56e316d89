import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import type { Divergence } from "@runyard/sdk/contract";
import { type Difference, firstDifference, refusalWords } from "../core/replay.ts";
import { orNotMade } from "./exchange.ts";
import { NO_RATES } from "./prices.ts";
import { exchangesFile } from "./files.ts";
import type { ListedModels } from "./models.ts";
import { MODEL_ALIAS } from "./protocol.ts";
import type { CallRecord, Recorder } from "./recorder.ts";
import { callsOfTurn, readBody, type RecordedBody, type RecordedCall, readRecording } from "./recordings.ts";
import { createRedactor } from "../redact.ts";
import type { LiveRun } from "./registry.ts";
import { giveAnswer, refuseCall, UNANSWERED } from "./replay-answer.ts";
import type { WireFormat } from "./wire-format.ts";

/** Stands for the provider in recordings that do not name it. */
const UNNAMED = "recorded";

/** A run that is answered from the recording of another one. */
export type ReplayingRun = LiveRun & { readonly replay: NonNullable<LiveRun["replay"]> };

export function isReplaying(run: LiveRun): run is ReplayingRun {
  return run.replay !== null;
}

/** One call of a replay, with its request's body as the client sent it. */
export interface ReplayedCall {
  readonly format: Pick<WireFormat, "doorPath" | "errorBody">;
  readonly raw: Buffer;
  readonly response: ServerResponse;
}

/** Answers the calls of replays with what was recorded, and calls nobody. */
export interface Replays {
  /** Resolves when the call has been answered and journalled. Throws a Refusal when it could not be journalled. */
  answer(recorder: Recorder, run: ReplayingRun, call: ReplayedCall): Promise<void>;
  /** The models that the recording names. */
  models(run: ReplayingRun): ListedModels[];
}

/** Where a replay stands. */
interface Standing {
  readonly recorded: readonly RecordedCall[];
  /** Recorded calls whose answers were given. */
  readonly used: Set<string>;
  differs: boolean;
  wasRefused: boolean;
  /** The last call whose place in the recording is being looked for: they find theirs in the order in which they came. */
  last: Promise<unknown>;
}

export function createReplays(gatewayDir: string): Replays {
  const standings = new Map<string, Standing>();

  const standingOf = (run: ReplayingRun): Standing => {
    const known = standings.get(run.runId);
    if (known !== undefined) return known;
    const standing = readStanding(gatewayDir, run);
    standings.set(run.runId, standing);
    run.closed.addEventListener("abort", () => standings.delete(run.runId), { once: true });
    return standing;
  };

  return {
    async answer(recorder, run, call) {
      const standing = standingOf(run);
      const begun = standing.last.then(() => begin(gatewayDir, { recorder, run, standing, call }));
      standing.last = begun.catch(() => undefined);
      const answer = await begun;
      const to = { response: call.response, record: answer.record, errorBody: call.format.errorBody };
      if ("refusal" in answer) refuseCall(to, answer.refusal);
      else await giveAnswer({ ...to, close: answer.recorded.close, bytes: answer.bytes, closed: run.closed });
    },

    models(run) {
      const { recorded } = standingOf(run);
      const providers = new Set(recorded.map(({ open }) => open.provider ?? UNNAMED));
      return [...providers].map((provider) => {
        const names = new Set(recorded.flatMap(({ open }) => ((open.provider ?? UNNAMED) === provider ? [open.model] : [])));
        return { provider, models: [...names].map((id) => ({ id, name: null, contextTokens: null })) };
      });
    },
  };
}

/** What was answered stands in the replay's own journal: so a process that takes over in the middle goes on there. */
function readStanding(gatewayDir: string, { runId, replay }: ReplayingRun): Standing {
  const own = readRecording(readJournal(gatewayDir, runId));
  return {
    recorded: callsOfTurn(readRecording(readJournal(gatewayDir, replay.runId)), replay.turn),
    used: new Set(own.calls.flatMap((call) => call.open.replays ?? [])),
    differs: own.divergences.length > 0,
    wasRefused: own.divergences.some(isRefused),
    last: Promise.resolve(),
  };
}

function readJournal(gatewayDir: string, runId: string): string {
  try {
    return readFileSync(exchangesFile(gatewayDir, runId), "utf8");
  } catch {
    return "";
  }
}

interface Beginning {
  readonly recorder: Recorder;
  readonly run: ReplayingRun;
  readonly standing: Standing;
  readonly call: ReplayedCall;
}

/** A call of a replay that is journalled as begun: its recorded answer, or why it gets none. */
type Begun =
  | { readonly record: CallRecord; readonly recorded: RecordedCall; readonly bytes: Buffer }
  | { readonly record: CallRecord; readonly refusal: string };

/** Finds a call's place in the recording and journals its beginning, and how it differs where it does. */
async function begin(gatewayDir: string, { recorder, run, standing, call }: Beginning): Promise<Begun> {
  const redactor = createRedactor([run.token], run.secrets);
  const { raw } = call;
  const path = call.format.doorPath;
  const found = await find(gatewayDir, { run, standing, path, body: redactor.bytes(raw).toString() });
  const { recorded } = found;
  const answer = recorded === null ? null : await readBody({ gatewayDir, runId: run.replay.runId }, recorded, "response");
  const { provider, model, id: replays } = recorded?.open ?? { provider: null, model: MODEL_ALIAS, id: null };
  const record = orNotMade(() =>
    recorder.open({ run, path, provider, model, replays, rates: NO_RATES, reserve: null, request: raw, redactor }),
  );
  if (replays !== null) standing.used.add(replays);
  const exchange = recorded?.number ?? standing.recorded.length + 1;
  const divergence = divergenceOf(found, { exchangeId: record.id, exchange, answer });
  if (divergence !== null) note(recorder, { runId: run.runId, record, standing, divergence });
  if (divergence !== null && isRefused(divergence)) return { record, refusal: refusalWords(divergence) };
  if (recorded === null || answer === null) throw new Error("a call without a recorded answer was not refused");
  return { record, recorded, bytes: answer.bytes };
}

interface Found {
  /** Null: the recording has no answer left for this path. */
  readonly recorded: RecordedCall | null;
  readonly difference: Difference | null;
}

/** What a request is compared with that is not recorded. */
const UNKNOWN: Difference = { path: null, recorded: null, replayed: null };

/** The recorded call that is the same; where none is, the next one, and how it differs. */
async function find(
  gatewayDir: string,
  { run, standing, path, body }: Pick<Beginning, "run" | "standing"> & { readonly path: string; readonly body: string },
): Promise<Found> {
  const { runId } = run.replay;
  const candidates = candidatesFor(standing, path);
  let first: Difference | null = null;
  for (const recorded of candidates) {
    const request = await readBody({ gatewayDir, runId }, recorded, "request");
    const isWhole = request.state === "whole";
    const difference = isWhole ? firstDifference({ runId, body: request.bytes.toString() }, { runId: run.runId, body }) : UNKNOWN;
    if (difference === null) return { recorded, difference };
    first ??= difference;
  }
  return { recorded: candidates[0] ?? null, difference: first };
}

/** The next recorded call of a path, and those that were under way with it: in which order such calls come is chance. */
function candidatesFor({ recorded, used }: Standing, path: string): RecordedCall[] {
  const left = recorded.filter((call) => call.open.path === path && !used.has(call.open.id));
  const next = left[0];
  return next === undefined ? [] : left.filter((call) => call === next || call.from < next.to);
}

/** How a call differs from the recording, if it does: first of all by not being answerable. */
function divergenceOf(
  { recorded, difference }: Found,
  { answer, ...place }: Pick<Divergence, "exchange" | "exchangeId"> & { readonly answer: RecordedBody | null },
): Divergence | null {
  if (recorded === null || answer === null) return { kind: "extra-call", ...place, ...UNKNOWN };
  if (answer.state !== "whole" || difference === UNKNOWN) return { kind: "not-recorded", ...place, ...UNKNOWN };
  return difference === null ? null : { kind: "request", ...place, ...difference };
}

/** Whether a call that differs so gets no answer. */
function isRefused({ kind }: Pick<Divergence, "kind">): boolean {
  return kind === "extra-call" || kind === "not-recorded";
}

interface Note {
  readonly runId: string;
  readonly record: CallRecord;
  readonly standing: Standing;
  readonly divergence: Divergence;
}

/** Journals the first difference, and the first call that cannot be answered: both decide how the run ends. */
function note(recorder: Recorder, { runId, record, standing, divergence }: Note): void {
  const isRefusal = isRefused(divergence);
  if (standing.differs && (!isRefusal || standing.wasRefused)) return;
  try {
    orNotMade(() => recorder.diverged(runId, divergence));
  } catch (error) {
    record.close({ ...UNANSWERED, error: (error as Error).message });
    throw error;
  }
  standing.differs = true;
  standing.wasRefused ||= isRefusal;
}
