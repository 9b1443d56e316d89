import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DivergenceLine, parseExchangeLine } from "./exchange-journal.ts";
import { exchangesFile } from "./files.ts";
import { appendLines, unsettledCalls } from "./journal-file.ts";
import { claimLife, forgetRuns, livingLives, markRun, newestLife, settleDeadLives } from "./lives.ts";
import { closeLine, openLine } from "./testing/recording.ts";
import { identifyProcess, isAlive, type ProcessIdentity } from "../process-identity.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "ry-journal-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const AT = "2026-11-20T10:00:00.000Z";
const divergence: DivergenceLine = {
  type: "divergence",
  at: AT,
  kind: "request",
  exchange: 1,
  exchangeId: "1-ab",
  path: "model",
  recorded: "m",
  replayed: "n",
};

describe("lines of the journal", () => {
  test("come back as they were written", () => {
    for (const line of [openLine("1-ab"), closeLine("1-ab"), divergence]) expect(parseExchangeLine(JSON.stringify(line))).toEqual(line);
  });

  test.each([
    "",
    "{",
    "[]",
    "null",
    '{"type":"later"}',
    JSON.stringify({ ...closeLine("1-ab"), inputTokens: -1 }),
    JSON.stringify({ ...openLine("1-ab"), id: "x" }),
  ])("%j is none", (text) => {
    expect(parseExchangeLine(text)).toBeNull();
  });
});

describe("the journal's file", () => {
  const file = (): string => path.join(dir, "exchanges.ndjson");
  const entries = (): unknown[] =>
    readFileSync(file(), "utf8")
      .split("\n")
      .map(parseExchangeLine)
      .filter((entry) => entry !== null);

  test("grows by whole lines", () => {
    appendLines(file(), [openLine("1-ab")]);
    appendLines(file(), []);
    appendLines(file(), [closeLine("1-ab"), openLine("2-ab")]);
    expect(readFileSync(file(), "utf8")).toBe(
      [openLine("1-ab"), closeLine("1-ab"), openLine("2-ab")].map((line) => `${JSON.stringify(line)}\n`).join(""),
    );
  });

  test("half a line of a killed writer is ended and stays where it was", () => {
    appendLines(file(), [openLine("1-ab")]);
    appendFileSync(file(), '{"type":"clo');
    const before = readFileSync(file(), "utf8");
    appendLines(file(), [openLine("1-cd")]);
    expect(readFileSync(file(), "utf8").startsWith(`${before}\n`)).toBe(true);
    expect(entries()).toEqual([openLine("1-ab"), openLine("1-cd")]);
  });

  test("tells which calls of a process have no end", () => {
    expect(unsettledCalls(file(), "ab")).toEqual([]);
    appendLines(file(), [openLine("1-ab"), openLine("2-ab"), openLine("1-cd"), closeLine("1-ab")]);
    expect(unsettledCalls(file(), "ab")).toEqual([openLine("2-ab")]);
    expect(unsettledCalls(file(), "cd")).toEqual([openLine("1-cd")]);
    expect(unsettledCalls(file(), "ef")).toEqual([]);
  });
});

describe("the lives of a gateway", () => {
  const me = identifyProcess(process.pid) as ProcessIdentity;
  const dead: ProcessIdentity = { ...me, startTime: "1" };
  const RUN = "run_01k00000000000000000000001";

  test("a number is given once", () => {
    expect(newestLife(dir)).toBe(0);
    expect(claimLife(dir, 1, { process: me, tag: "aa" })).toBe(true);
    expect(claimLife(dir, 1, { process: me, tag: "bb" })).toBe(false);
    expect(claimLife(dir, 2, { process: dead, tag: "cc" })).toBe(true);
    expect(newestLife(dir)).toBe(2);
    expect(livingLives(dir)).toEqual([{ process: me, tag: "aa" }]);
    expect(readdirSync(path.join(dir, "lives")).toSorted()).toEqual(["1.json", "2.json"]);
  });

  function leaveOpen(number: number, process: ProcessIdentity, tag: string): void {
    claimLife(dir, number, { process, tag });
    markRun(dir, number, RUN);
    mkdirSync(path.dirname(exchangesFile(dir, RUN)), { recursive: true });
    appendLines(exchangesFile(dir, RUN), [openLine(`1-${tag}`)]);
  }
  const closes = (): unknown[] =>
    readFileSync(exchangesFile(dir, RUN), "utf8")
      .split("\n")
      .map(parseExchangeLine)
      .filter((entry) => entry?.type === "close");

  test("what a dead one left open is settled once, what a living one has open is left to it", () => {
    leaveOpen(1, dead, "aa");
    leaveOpen(2, me, "bb");
    claimLife(dir, 3, { process: me, tag: "cc" });
    settleDeadLives(dir, 3);
    settleDeadLives(dir, 3);
    expect(closes()).toMatchObject([
      { id: "1-aa", status: null, ok: false, complete: false, inputTokens: null, durationMs: null, settled: "estimate" },
    ]);
    expect(readdirSync(path.join(dir, "lives")).toSorted()).toEqual(["2", "2.json", "3.json"]);
  });

  test("one that left in order has nothing to settle", () => {
    leaveOpen(1, dead, "aa");
    appendLines(exchangesFile(dir, RUN), [closeLine("1-aa")]);
    forgetRuns(dir, 1);
    settleDeadLives(dir, 2);
    expect(closes()).toHaveLength(1);
  });

  test("a crash in the middle of settling is made good by the next one, without a second end", () => {
    leaveOpen(1, dead, "aa");
    appendLines(exchangesFile(dir, RUN), [closeLine("1-aa")]);
    settleDeadLives(dir, 2);
    expect(closes()).toHaveLength(1);
  });
});

test("a process is known by more than its pid", () => {
  const me = identifyProcess(process.pid) as ProcessIdentity;
  expect(isAlive(me)).toBe(true);
  expect(isAlive({ ...me, startTime: `${me.startTime}0` })).toBe(false);
  expect(isAlive({ ...me, bootId: "another" })).toBe(false);
  expect(identifyProcess(2 ** 22 + 1)).toBeNull();
});
