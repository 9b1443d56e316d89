import { describe, expect, test } from "vitest";
import { firstDifference, isSameResult, missingCall, recordedAnswers, refusalWords } from "./replay.ts";

const ONE = "run_01k00000000000000000000001";
const OTHER = "run_01k00000000000000000000002";

function differs(recorded: unknown, replayed: unknown): ReturnType<typeof firstDifference> {
  const body = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
  return firstDifference({ runId: ONE, body: body(recorded) }, { runId: OTHER, body: body(replayed) });
}

describe("two requests", () => {
  test.each([
    ["the same", { a: [1, { b: "x" }] }, { a: [1, { b: "x" }] }],
    ["the order of fields", { a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }],
    ["the runs' own ids", { branch: `runyard/${ONE}` }, { branch: `runyard/${OTHER}` }],
    ["the folders of attempts", { cwd: `/home/runs/${ONE}/2/workspace` }, { cwd: `/home/runs/${OTHER}/1/workspace` }],
    ["uuids", "a 0b8c2f6e-5f3a-4c1d-9e7b-2a1f0c3d4e5f", "a 1C8C2F6E-5F3A-4C1D-9E7B-2A1F0C3D4E5F"],
    ["days", "Today's date is 2026-11-20.", "Today's date is 2026-12-01."],
    ["moments", "at 2026-11-20T20:01:02.345Z", "at 2027-01-02 03:04:05 +0100"],
    ["dates of git and of `date`", "Fri Nov 20 20:01:02 2026 +0100", "Sat Nov 21 20:01:02 UTC 2026"],
    ["dates in words", "Friday, November 20, 2026", "Tuesday, December 1, 2026"],
    ["dates without a clock", "Date: Fri Nov 20 2026", "Date: Tue Dec 1 2026"],
    ["dates of mail", "Fri, 20 Nov 2026 20:01:02 GMT", "Tue, 1 Dec 2026 01:02:03 GMT"],
    ["what `ls -l` says of files", "root 12 Nov 20 20:01 a.txt", "root 12 Dec  1 01:02 a.txt"],
    ["measured times", "ok (5 ms), 0.52s, 12ms, duration_ms 53.1", "ok (17 ms), 1.4 s, 9ms, duration_ms 60"],
    [
      "seconds and milliseconds since 1970",
      { at: 1_795_209_378, text: "at 1795209378419" },
      { at: 1_795_209_999, text: "at 1795209391825" },
    ],
    ["process ids that are called so", "Process Group PGID: 39, pid 7 (pid=8)", "Process Group PGID: 40, pid 17 (pid=18)"],
    ["times and names of a tool", "Chunk ID: d5ff78\nWall time: 0.2738 seconds", "Chunk ID: ea9821\nWall time: 1 seconds"],
    [
      "names, as long as they mean the same",
      { calls: [{ id: "call_a" }, { id: "call_b" }], results: [{ tool_call_id: "call_b" }] },
      { calls: [{ id: "call_x" }, { id: "call_y" }], results: [{ tool_call_id: "call_y" }] },
    ],
    ["what is no JSON", `no JSON of ${ONE}`, `no JSON of ${OTHER}`],
  ])("may differ in: %s", (_, recorded, replayed) => {
    expect(differs(recorded, replayed)).toBeNull();
  });

  test.each([
    [
      "a text",
      { messages: [{}, { content: "Do it" }] },
      { messages: [{}, { content: "Do that" }] },
      "messages[1].content",
      "Do it",
      "Do that",
    ],
    ["a figure", { n: 1 }, { n: 2 }, "n", "1", "2"],
    ["a field that is gone", { a: { b: null } }, { a: {} }, "a.b", "null", null],
    ["a field that is new", {}, { stream: true }, "stream", null, "true"],
    ["a list that is longer", { a: [1] }, { a: [1, { x: 2 }] }, "a[1]", null, '{"x":2}'],
    ["a list in place of an object", { a: [] }, { a: {} }, "a", "[]", "{}"],
    ["an object in place of a text", { a: "x" }, { a: { b: 1 } }, "a", "x", '{"b":1}'],
    ["the whole", "[1]", "no JSON", "$", "[1]", "no JSON"],
    [
      "a name that means another one",
      { a: [{ id: "x" }, { id: "y" }], id: "x" },
      { a: [{ id: "x" }, { id: "y" }], id: "y" },
      "id",
      "<name 1>",
      "<name 2>",
    ],
    ["an id that is no text", { id: 1 }, { id: 2 }, "id", "1", "2"],
    ["another run's id", { a: ONE }, { a: ONE }, "a", "<run>", ONE],
    ["the name of a file behind a time", "Nov 20 20:01 README.md", "Dec 21 21:02 READ.md", "$", "<time> README.md", "<time> READ.md"],
    ["a number of a name", { a: "v1.2.3 of 12:30" }, { a: "v1.2.4 of 12:30" }, "a", "v1.2.3 of 12:30", "v1.2.4 of 12:30"],
  ])("differ in %s", (_, recorded, replayed, path, one, other) => {
    expect(differs(recorded, replayed)).toEqual({ path, recorded: one, replayed: other });
  });

  test("differ first where the recorded one comes first", () => {
    expect(differs({ b: 1, a: 1 }, { a: 2, b: 2 })?.path).toBe("b");
  });

  test("are shown around the difference, and not more of them", () => {
    const long = "x".repeat(1_000);
    const difference = differs({ a: `${long}1${long}` }, { a: `${long}2${long}` });
    expect(difference?.recorded).toBe(`…${"x".repeat(120)}1${"x".repeat(379)}…`);
    expect(difference?.replayed).toBe(`…${"x".repeat(120)}2${"x".repeat(379)}…`);
  });
});

test.each([
  ["completed", "t", "completed", "t", true],
  ["completed", "t", "completed", "u", false],
  ["completed", null, "completed", "t", null],
  ["completed", "t", "completed", null, null],
  ["completed", "t", "failed", null, false],
  ["failed", null, "failed", null, true],
] as const)("recorded %s (%s), replayed %s (%s): %s", (status, tree, nowStatus, nowTree, same) => {
  expect(isSameResult({ status, tree }, { status: nowStatus, tree: nowTree })).toBe(same);
});

test("a replay that asks less often lacks its next call", () => {
  expect(missingCall(3, 1)).toMatchObject({ kind: "missing-call", exchange: 2 });
  expect([missingCall(3, 3), missingCall(3, 4)]).toEqual([null, null]);
});

test("a call without an answer is told why", () => {
  expect(refusalWords({ kind: "extra-call", exchange: 4 })).toContain("exchange 4");
  expect(refusalWords({ kind: "extra-call", exchange: 1 })).toContain("No model call of this kind");
  expect(refusalWords({ kind: "not-recorded", exchange: 2 })).toContain("exchange 2 is not whole");
});

test("what was asked before is answered as it was then, the first time as the first time", () => {
  const asked = (title: string, answer: string | null, isOpen = false) => ({
    kind: "permission" as const,
    title,
    answer,
    closed_at: isOpen ? null : "then",
  });
  const open = (title: string) => asked(title, null, true);
  const recorded = [asked("ls", "allow"), asked("rm", "deny"), asked("ls", "deny"), asked("gone", null)];
  const answersTo = (own: Parameters<typeof recordedAnswers>[0]): unknown =>
    recordedAnswers(own, recorded).map(({ own: { title }, as }) => [title, as.answer]);
  expect(answersTo([open("ls")])).toEqual([["ls", "allow"]]);
  expect(answersTo([asked("ls", "allow"), open("ls"), open("rm")])).toEqual([
    ["ls", "deny"],
    ["rm", "deny"],
  ]);
  expect(answersTo([open("other"), open("gone"), { ...open("ls"), kind: "question" }, asked("rm", "deny")])).toEqual([]);
  expect(answersTo([asked("ls", "allow"), asked("ls", "deny"), open("ls")])).toEqual([]);
});
