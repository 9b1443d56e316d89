import type { RunResult } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { begin } from "../agents/acp/conversation.ts";
import { SPEC } from "../agents/acp/testing/play.ts";
import type { Carry } from "../store/run-row.ts";
import { carryOver, carryPlanned } from "./carry-over.ts";

type Ended = Parameters<typeof carryOver>[0];

const HEAD = "a".repeat(40);
const BEFORE: Carry = {
  attempts: [1],
  head: HEAD,
  published: { branch: "runyard/run_x", commit: HEAD },
  sessionId: "s1",
  prompt: "Build it",
  lastWords: "Built.",
};
const first: Ended = { attempt: 1, task: "Build it", prompt: null, carry: null, result: null, state: {}, plans: false };
const later: Ended = { ...first, attempt: 2, prompt: "Paint it", carry: BEFORE };
const [BASE, MERGE, LEFT] = ["b", "c", "d"].map((digit) => digit.repeat(40)) as [string, string, string];
const rebased: Ended = { ...later, carry: { ...BEFORE, rebase: { branch: "main", commit: BASE, hasTask: true } } };
const NOTHING: Carry = { attempts: [], head: null, published: null, sessionId: null, prompt: "Build it", lastWords: null };

function resultAt(headCommit: string | null): RunResult {
  const headBranch = headCommit === null ? null : "runyard/run_x";
  return { summary: "", headBranch, headCommit, baseCommit: "", filesChanged: 0, insertions: 0, deletions: 0 };
}

test.each<[string, Ended, Partial<Carry>]>([
  ["a first turn that never began", first, NOTHING],
  ["a first turn that failed while its workspace was made", { ...first, state: { format: 1 } }, NOTHING],
  [
    "a first turn that completed",
    { ...first, state: { format: 1, cachePath: "/c", sessionId: "s1", summary: "Built.", made: { head: HEAD } }, result: resultAt(HEAD) },
    BEFORE,
  ],
  [
    "a first turn that changed nothing",
    { ...first, state: { format: 1, cachePath: "/c", sessionId: "s1", summary: "", made: { head: null } }, result: resultAt(null) },
    { ...NOTHING, attempts: [1], sessionId: "s1", lastWords: "" },
  ],
  [
    "a first turn that was broken off",
    {
      ...first,
      state: {
        format: 1,
        cachePath: "/c",
        turn: {
          conversation: { ...begin(SPEC).state, sessionId: "s1", lastText: "I begin." },
          lastError: null,
          before: { calls: 0, failed: 0 },
        },
      },
    },
    { ...NOTHING, attempts: [1], sessionId: "s1", lastWords: "I begin." },
  ],
  [
    "a turn that merged its base and was broken off",
    { ...rebased, state: { format: 1, cachePath: "/c", rebase: { outcome: "merged", from: HEAD, head: MERGE, conflicts: [] } } },
    { attempts: [2], head: MERGE, base: BASE, published: BEFORE.published },
  ],
  [
    "a turn that left conflicts with its base",
    { ...rebased, state: { format: 1, cachePath: "/c", rebase: { outcome: "conflicts", from: LEFT, head: MERGE, conflicts: ["a"] } } },
    { attempts: [], homes: [2, 1], head: LEFT, published: BEFORE.published },
  ],
  [
    "a turn that was broken off while it merged its base",
    { ...rebased, state: { format: 1, workspace: "taken", merging: LEFT } },
    { attempts: [], homes: [2, 1], head: LEFT, published: BEFORE.published },
  ],
  [
    "a turn that resolved conflicts with its base",
    {
      ...rebased,
      state: {
        format: 1,
        cachePath: "/c",
        made: { head: MERGE },
        rebase: { outcome: "conflicts", from: LEFT, head: "e".repeat(40), conflicts: ["a"] },
      },
      result: resultAt(MERGE),
    },
    { attempts: [2], head: MERGE, base: BASE, published: { branch: "runyard/run_x", commit: MERGE, base: BASE } },
  ],
  [
    "a turn whose base had nothing new",
    { ...rebased, state: { format: 1, cachePath: "/c", rebase: { outcome: "nothing", from: HEAD, head: HEAD, conflicts: [] } } },
    { attempts: [2], head: HEAD, published: BEFORE.published },
  ],
  [
    "a turn behind one that had brought in its base",
    { ...later, carry: { ...BEFORE, base: BASE }, state: { format: 1, cachePath: "/c" } },
    { attempts: [2], head: HEAD, base: BASE },
  ],
  ["a later turn that never began", later, { ...BEFORE, prompt: "Paint it" }],
  [
    "a later turn that died while it took the workspace over",
    { ...later, state: { format: 1, workspace: "taken" } },
    { ...BEFORE, attempts: [2, 1], prompt: "Paint it" },
  ],
  [
    "a later turn that died while it made a new workspace",
    { ...later, state: { format: 1, workspace: "fresh" } },
    { attempts: [1], head: HEAD },
  ],
  [
    "a later turn whose commit could not be published",
    { ...later, state: { format: 1, workspace: "taken", cachePath: "/c", summary: "Painted.", made: { head: "b".repeat(40) } } },
    { attempts: [2], head: "b".repeat(40), published: BEFORE.published, sessionId: "s1", lastWords: "Painted." },
  ],
  [
    "a first turn that ended with its plan: the conversation, not the workspace",
    { ...first, attempt: 2, plans: true, state: { format: 1, cachePath: "/c", sessionId: "s1", summary: "# Plan" } },
    { ...NOTHING, homes: [2], sessionId: "s1", lastWords: "# Plan" },
  ],
  [
    "a later turn that ended with its plan: the workspace of the turn before",
    { ...later, plans: true, state: { format: 1, workspace: "taken", cachePath: "/c", sessionId: "s2", summary: "# Plan" } },
    { ...BEFORE, homes: [2, 1], sessionId: "s2", prompt: "Paint it", lastWords: "# Plan" },
  ],
  [
    "a turn behind one that ended with its plan",
    { ...first, attempt: 3, carry: { ...NOTHING, homes: [2] }, state: { format: 1, cachePath: "/c", sessionId: "s3", summary: "Built." } },
    { ...NOTHING, attempts: [3], homes: [3, 2], sessionId: "s3", lastWords: "Built." },
  ],
  [
    "a turn that another version began in its own way",
    { ...later, state: { format: 99, cachePath: "/c", made: { head: "c" } } },
    { ...BEFORE, prompt: "Paint it" },
  ],
])("what is carried over from %s", (_, ended, carried) => {
  expect(carryOver(ended)).toMatchObject(carried);
});

describe("what a turn goes on from in further repositories", () => {
  const [OLD, NEW] = ["c".repeat(40), "d".repeat(40)];
  const published = { branch: "runyard/run_x", commit: OLD };
  const carry: Carry = { ...BEFORE, repositories: { lib: { head: OLD, published }, docs: { head: null, published: null } } };
  const turn = { ...later, carry };

  test.each<[string, Ended, Carry["repositories"]]>([
    ["a run that has none", later, undefined],
    ["a turn that never began", turn, carry.repositories],
    [
      "a turn that changed one of them",
      {
        ...turn,
        state: { format: 1, repositories: { lib: { cachePath: "/c", made: { head: NEW }, published: { branch: "b", commit: NEW } } } },
      },
      { lib: { head: NEW, published: { branch: "b", commit: NEW } }, docs: { head: null, published: null } },
    ],
    [
      "one that could not be published",
      { ...turn, state: { format: 1, repositories: { lib: { cachePath: "/c", made: { head: NEW }, published: { problem: "gone" } } } } },
      { ...carry.repositories, lib: { head: NEW, published } },
    ],
    [
      "one whose commit was lost",
      { ...turn, state: { format: 1, repositories: { lib: { cachePath: "/c", headLost: true, made: { head: null } } } } },
      { ...carry.repositories, lib: { head: null, published } },
    ],
    [
      "a first turn",
      { ...first, state: { format: 1, repositories: { lib: { cachePath: "/c", made: { head: OLD }, published } } } },
      { lib: { head: OLD, published } },
    ],
  ])("of %s", (_, ended, repositories) => {
    expect(carryOver(ended).repositories).toEqual(repositories);
  });

  test("behind a plan: what the turn before left", () => {
    const next = { type: "build", text: "# Plan", isEdited: false } as const;
    const state = { format: 1, repositories: { lib: { cachePath: "/c" } } };
    expect(carryPlanned({ ...turn, plans: true, state }, next).repositories).toEqual(carry.repositories);
  });
});

describe("what a turn goes on from behind its plan", () => {
  const next = { type: "build", text: "# Plan", isEdited: false } as const;
  const planning = { format: 1, cachePath: "/c", sessionId: "s2", summary: "# Plan" };

  test("the conversation and home of the attempt that planned, and no workspace of its", () => {
    expect(carryPlanned({ ...first, plans: true, state: planning }, next)).toEqual({
      ...NOTHING,
      sessionId: "s2",
      lastWords: "# Plan",
      homes: [1],
      goesOn: { attempt: 1, next },
    });
  });

  test("in a later turn, the workspace and the branch of the turn before", () => {
    const carried = { ...BEFORE, sessionId: "s2", prompt: "Paint it", lastWords: "# Plan", homes: [2, 1], goesOn: { attempt: 2, next } };
    expect(carryPlanned({ ...later, plans: true, state: planning }, next)).toEqual(carried);
    // And again behind the next version of the plan.
    const again = carryPlanned({ ...later, attempt: 3, carry: carried, plans: true, state: planning }, next);
    expect(again).toMatchObject({ attempts: [1], homes: [3, 2, 1], goesOn: { attempt: 3 }, head: HEAD });
  });

  test("what a planned turn leaves is what any turn leaves", () => {
    const carried = carryPlanned({ ...later, plans: true, state: planning }, next);
    const ended = { ...later, attempt: 3, carry: carried, state: { format: 1, cachePath: "/c", sessionId: "s2", summary: "Painted." } };
    const over = carryOver(ended);
    expect(over).toMatchObject({ attempts: [3], homes: [3, 2, 1], sessionId: "s2", lastWords: "Painted." });
    expect(over.goesOn).toBeUndefined();
  });
});
