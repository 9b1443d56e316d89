import { existsSync } from "node:fs";
import { usdOrNull } from "../core/usage.ts";
import { readFile } from "node:fs/promises";
import type { Exchange, ExchangeBody, ExchangeDetail, ExchangeSide } from "@runyard/sdk/contract";
import { type DivergenceLine, type ExchangeClose, type ExchangeOpen, parseExchangeLine } from "./exchange-journal.ts";
import { bodyFile, exchangesFile } from "./files.ts";
import { NO_TOKENS } from "./wire-format.ts";

/** Most bytes of a body that are shown; all of them can be had as they are. */
const MAX_SHOWN_BYTES = 1024 * 1024;

/** A model call in a run's journal. */
export interface RecordedCall {
  readonly open: ExchangeOpen;
  /** Null: it is under way, or its end could not be written. */
  readonly close: ExchangeClose | null;
  /** Its place among the calls of the run, from 1. */
  readonly number: number;
  /** The lines of its beginning and its end, from 0; one without an end ends where it began. */
  readonly from: number;
  readonly to: number;
}

export interface RecordedRun {
  /** In the order in which they began. */
  readonly calls: readonly RecordedCall[];
  readonly divergences: readonly DivergenceLine[];
}

/** What a journal says; lines that are torn or of a later version say nothing. */
export function readRecording(journal: string): RecordedRun {
  const calls = new Map<string, RecordedCall>();
  const divergences: DivergenceLine[] = [];
  for (const [at, text] of journal.split("\n").entries()) {
    const line = parseExchangeLine(text);
    if (line?.type === "open") calls.set(line.id, { open: line, close: null, number: calls.size + 1, from: at, to: at });
    else if (line?.type === "divergence") divergences.push(line);
    else if (line?.type === "close") {
      const call = calls.get(line.id);
      if (call !== undefined) calls.set(line.id, { ...call, close: line, to: at });
    }
  }
  return { calls: [...calls.values()], divergences };
}

/** The calls of a turn; where nobody wrote down which turn it was, of the whole run. */
export function callsOfTurn({ calls }: RecordedRun, turn: number): RecordedCall[] {
  return calls.filter((call) => call.open.turn === null || call.open.turn === turn);
}

/** A recorded body, or how much of it there is. */
export interface RecordedBody {
  readonly state: ExchangeBody["state"];
  readonly bytes: Buffer;
}

/** Never rejects for a file that is not there: what could not be written costs the recording only. */
export async function readBody(
  { gatewayDir, runId }: { readonly gatewayDir: string; readonly runId: string },
  { open, close }: RecordedCall,
  side: ExchangeSide,
): Promise<RecordedBody> {
  const sent = (side === "request" ? close?.requestBytes : close?.responseBytes) ?? null;
  const bytes = await readFile(bodyFile(gatewayDir, { runId, id: open.id, side })).catch(() => null);
  if (bytes === null) return { state: sent === 0 ? "whole" : "missing", bytes: Buffer.alloc(0) };
  return { state: sent === null || sent === bytes.length ? "whole" : "torn", bytes };
}

/** What this machine's gateway has recorded, for people and programs. */
export interface Recordings {
  /** Null: nothing of this run is recorded here. */
  list(runId: string): Promise<Exchange[] | null>;
  /** Null: there is no such call here. */
  find(runId: string, id: string): Promise<ExchangeDetail | null>;
  /** What was sent or answered, as far as it is recorded; null: nothing of it is. */
  bytes(runId: string, place: { readonly id: string; readonly side: ExchangeSide }): Promise<Uint8Array | null>;
  /** How many calls of a turn are recorded here. */
  count(runId: string, turn: number): Promise<number>;
}

export function openRecordings(gatewayDir: string): Recordings {
  const read = async (runId: string): Promise<RecordedRun | null> => {
    const file = exchangesFile(gatewayDir, runId);
    return existsSync(file) ? readRecording(await readFile(file, "utf8")) : null;
  };
  const callOf = async (runId: string, id: string): Promise<RecordedCall | undefined> =>
    (await read(runId))?.calls.find((call) => call.open.id === id);
  return {
    list: async (runId) => (await read(runId))?.calls.map(toExchange) ?? null,
    async find(runId, id) {
      const call = await callOf(runId, id);
      if (call === undefined) return null;
      const place = { gatewayDir, runId };
      const [request, response] = await Promise.all([readBody(place, call, "request"), readBody(place, call, "response")]);
      return { ...toExchange(call), headers: call.close?.headers ?? null, request: shown(request), response: shown(response) };
    },
    async bytes(runId, { id, side }) {
      const call = await callOf(runId, id);
      const body = call === undefined ? null : await readBody({ gatewayDir, runId }, call, side);
      return body === null || body.state === "missing" ? null : body.bytes;
    },
    async count(runId, turn) {
      const recording = await read(runId);
      if (recording === null) return 0;
      const calls = callsOfTurn(recording, turn);
      // Of an old recording only the journal is left.
      const isKept = calls.some(({ open }) => existsSync(bodyFile(gatewayDir, { runId, id: open.id, side: "request" })));
      return isKept ? calls.length : 0;
    },
  };
}

/** Of a call without an end nobody knows anything. */
const NO_END = {
  ...NO_TOKENS,
  status: null,
  ok: null,
  complete: null,
  tries: null,
  durationMs: null,
  error: null,
};

function toExchange({ open, close, number }: RecordedCall): Exchange {
  const { id, at, turn, attempt, provider, model, path, replays } = open;
  const { status, ok, complete, tries, durationMs, error } = close ?? NO_END;
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, reasoningTokens } = close ?? NO_END;
  const call = { id, number, at, turn, attempt, provider, model, path, replays };
  const tokens = { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, reasoningTokens };
  return { ...call, status, ok, complete, tries, ...tokens, costUsd: usdOrNull(close?.costNanoUsd ?? null), durationMs, error };
}

function shown({ state, bytes }: RecordedBody): ExchangeBody {
  const fits = bytes.length <= MAX_SHOWN_BYTES;
  const json = fits ? jsonIn(bytes) : undefined;
  if (json !== undefined) return { state, bytes: bytes.length, json, text: null, truncated: false };
  return { state, bytes: bytes.length, json: null, text: textIn(bytes.subarray(0, MAX_SHOWN_BYTES)), truncated: !fits };
}

function jsonIn(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** A character that the cut went through is left out. */
function textIn(bytes: Buffer): string {
  return new TextDecoder("utf-8").decode(bytes, { stream: true });
}
