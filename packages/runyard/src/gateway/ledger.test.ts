import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Amount } from "../core/spending.ts";
import { openBook } from "./book.ts";
import { exchangesFile } from "./files.ts";
import { type BudgetedCall, createLedger, type Ledger } from "./ledger.ts";
import { openaiChat } from "./openai-chat.ts";
import { type CallRecord, createRecorder, type Recorder } from "./recorder.ts";
import { createRedactor } from "../redact.ts";
import { newRun } from "./testing/host.ts";
import { openaiAt } from "./testing/provider.ts";
import { NO_TOKENS } from "./wire-format.ts";

// Two gateways at one journal: the one that leaves, and the one that comes.
const RUN = "run_01k00000000000000000000001";
const OPENED = { provider: "p", model: "m", path: "/x", replays: null };
const USAGE = { ...NO_TOKENS, inputTokens: 100, outputTokens: 10 };
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "ry-ledger-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Process {
  readonly ledger: Ledger;
  readonly recorder: Recorder;
}
const startProcess = (number: number): Process => ({
  ledger: createLedger(dir),
  recorder: createRecorder({ gatewayDir: dir, number, tag: `aa0${number}`, log: () => undefined }),
});

function aCall(tokens: number): BudgetedCall {
  const budget = { nanoUsd: null, tokens, spentNanoUsd: 0, spentTokens: 0, readTo: 0, isShare: false };
  const provider = openaiAt({ baseUrl: "http://127.0.0.1:1/v1", apiKey: null, model: "m" });
  const body = Buffer.from(JSON.stringify({ model: "m", messages: [], max_tokens: 1_000 }));
  return {
    run: { ...newRun(), runId: RUN, budget, closed: new AbortController().signal },
    budget,
    format: openaiChat,
    request: { provider, model: "m", body, stream: false, wantsUsageEvent: false },
    rates: null,
    signal: new AbortController().signal,
  };
}

function opener({ recorder }: Process): (reserve: Amount) => CallRecord {
  const redactor = createRedactor([]);
  return (reserve) =>
    recorder.open({ run: { ...newRun(), runId: RUN }, ...OPENED, request: Buffer.from("{}"), redactor, rates: null, reserve });
}

const close = (record: CallRecord): void =>
  record.close({ status: 200, ok: true, complete: true, error: null, headers: null, tokens: USAGE });
const account = () => openBook(exchangesFile(dir, RUN)).read();

test("of two that begin a call in the same moment the first in the journal has it, and the other one waits", async () => {
  const [leaving, coming] = [startProcess(1), startProcess(2)];
  const call = aCall(3_000);
  let other: CallRecord | undefined;
  let opened = 0;
  const begun = coming.ledger.begin(call, (reserve) => {
    // The other process was faster by the time between a look and a write.
    if (other === undefined) other = opener(leaving)(reserve);
    opened += 1;
    return opener(coming)(reserve);
  });
  while (opened < 1 || account().spent.tokens !== 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(account().reserved.tokens).toBeLessThanOrEqual(3_000);
  if (other === undefined) throw new Error("nothing was opened");
  close(other);
  const { record, grant } = await begun;
  expect(opened).toBe(2);
  expect(grant).toMatchObject({ output: 1_000, isClamped: false });
  expect(account()).toMatchObject({ spent: { tokens: 110 } });
  close(record);
  coming.ledger.ended(call, { record, grant, tokens: USAGE, cut: false });
  expect(account()).toEqual({ spent: { nanoUsd: 0, tokens: 220 }, reserved: { nanoUsd: 0, tokens: 0 } });
});

test("a call that waits goes when nobody waits for its answer any more", async () => {
  const process_ = startProcess(1);
  await process_.ledger.begin(aCall(2_500), opener(process_));
  const gone = new AbortController();
  const waiting = process_.ledger.begin({ ...aCall(2_500), signal: gone.signal }, opener(process_));
  gone.abort(new Error("The client has gone."));
  await expect(waiting).rejects.toThrow("The client has gone.");
});

test("a process that comes later finds in the journal what stood in the way, and lets a bigger budget pass", async () => {
  const first = startProcess(1);
  const call = aCall(2_500);
  const { record, grant } = await first.ledger.begin(call, opener(first));
  close(record);
  first.ledger.ended(call, { record, grant, tokens: NO_TOKENS, cut: true });
  const second = startProcess(2);
  await expect(second.ledger.begin(aCall(2_500), opener(second))).rejects.toMatchObject({ status: 402, code: "budget_exceeded" });
  await expect(second.ledger.begin(aCall(2_499), opener(second))).rejects.toMatchObject({ status: 402 });
  const bigger = await second.ledger.begin(aCall(5_000), opener(second));
  expect(bigger.grant).toMatchObject({ output: 1_000 });
});
