import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { requireSuccess } from "./conclude-turn.ts";
import type { TurnState } from "./attempt-state.ts";
import { NO_SECRETS } from "./run-secrets.ts";
import type { RunRow } from "../store/run-row.ts";

test("of an agent's complaints the end is read, however many gigabytes there are", () => {
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-conclude-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const complaints = path.join(dir, "err");
  writeFileSync(complaints, "");
  truncateSync(complaints, 3 * 1024 ** 3); // takes no room, and is more than one piece of memory can hold
  appendFileSync(complaints, "the last word\n");
  const turn = { conversation: { outcome: null }, lastError: null, before: { calls: 0, failed: 0 } } as unknown as TurnState;
  const row = { usage: { modelCalls: 0, failedModelCalls: 0 } } as unknown as RunRow;
  const conclude = () =>
    requireSuccess(row, {
      dir,
      ending: { turn, code: 1, dismissed: false, oomKills: 0 },
      redact: (text) => text,
      secrets: NO_SECRETS,
      renewLogin: null,
    });
  expect(conclude).toThrow("the last word");
});
