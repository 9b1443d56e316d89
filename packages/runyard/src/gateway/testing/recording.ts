import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ExchangeClose, ExchangeOpen } from "../exchange-journal.ts";
import { appendLines } from "../journal-file.ts";

/** How long the answer of the second planted call is, in bytes: more than is shown. */
export const LONG_BYTES = 1024 * 1024 + 10;

const AT = "2026-11-20T10:00:00.000Z";
const open = (n: number): ExchangeOpen => ({
  type: "open",
  id: `${n}-ab`,
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
const close = (n: number, responseBytes: number | null): ExchangeClose => ({
  type: "close",
  id: `${n}-ab`,
  at: AT,
  provider: "openai",
  model: "m",
  status: 200,
  ok: true,
  complete: true,
  inputTokens: 10,
  outputTokens: 2,
  cachedInputTokens: null,
  cacheWriteTokens: null,
  reasoningTokens: null,
  costNanoUsd: null,
  countedNanoUsd: 0,
  countedTokens: 0,
  tries: 1,
  durationMs: 30,
  error: null,
  headers: { "content-type": "application/json" },
  requestBytes: null,
  responseBytes,
  settled: "measured",
});

/** Leaves what a gateway does of a run with three calls: one that is whole, one that is long and torn, and one without an end. */
export function plantRecording(gatewayDir: string, runId: string): void {
  const dir = path.join(gatewayDir, "runs", runId);
  const file = (name: string): string => path.join(dir, name);
  mkdirSync(dir, { recursive: true });
  appendLines(file("exchanges.ndjson"), [open(1), close(1, null), open(2), close(2, LONG_BYTES + 5), open(3)]);
  appendFileSync(file("exchanges.ndjson"), '{"type":"close","id":"3-ab","at":"20');
  writeFileSync(file("1-ab.request.json"), '{"model":"runyard"}');
  writeFileSync(file("1-ab.response"), '{"choices":["<script>alert(1)</script>"]}');
  writeFileSync(file("2-ab.request.json"), "no JSON");
  writeFileSync(file("2-ab.response"), `data: ${"ü".repeat(LONG_BYTES / 2 - 3)}`);
}
