import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ExchangeClose, ExchangeOpen } from "../exchange-journal.ts";
import { appendLines } from "../journal-file.ts";

/** How long the answer of the second planted call is, in bytes: more than is shown. */
export const LONG_BYTES = 1024 * 1024 + 10;

const AT = "2026-11-20T10:00:00.000Z";

/** A call's beginning in the journal. */
export const openLine = (id: string): ExchangeOpen => ({
  type: "open",
  id,
  at: AT,
  provider: "openai",
  model: "m",
  path: "/v1/chat/completions",
  turn: 1,
  attempt: 1,
  replays: null,
  reservedNanoUsd: null,
  reservedTokens: null,
});

/** A call's end in the journal, a good one. */
export const closeLine = (id: string, fields: Partial<ExchangeClose> = {}): ExchangeClose => ({
  type: "close",
  id,
  at: AT,
  provider: "openai",
  model: "m",
  status: 200,
  ok: true,
  complete: true,
  tries: 1,
  inputTokens: 10,
  outputTokens: 2,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  costNanoUsd: null,
  countedNanoUsd: 0,
  countedTokens: 0,
  durationMs: 30,
  error: null,
  headers: { "content-type": "application/json" },
  requestBytes: null,
  responseBytes: null,
  settled: "measured",
  ...fields,
});

/** Leaves what a gateway does of a run with three calls: one that is whole, one that is long and torn, and one without an end. */
export function plantRecording(gatewayDir: string, runId: string): void {
  const dir = path.join(gatewayDir, "runs", runId);
  const file = (name: string): string => path.join(dir, name);
  mkdirSync(dir, { recursive: true });
  const second = closeLine("2-ab", { responseBytes: LONG_BYTES + 5 });
  appendLines(file("exchanges.ndjson"), [openLine("1-ab"), closeLine("1-ab"), openLine("2-ab"), second, openLine("3-ab")]);
  appendFileSync(file("exchanges.ndjson"), '{"type":"close","id":"3-ab","at":"20');
  writeFileSync(file("1-ab.request.json"), '{"model":"runyard"}');
  writeFileSync(file("1-ab.response"), '{"choices":["<script>alert(1)</script>"]}');
  writeFileSync(file("2-ab.request.json"), "no JSON");
  writeFileSync(file("2-ab.response"), `data: ${"ü".repeat(LONG_BYTES / 2 - 3)}`);
}
