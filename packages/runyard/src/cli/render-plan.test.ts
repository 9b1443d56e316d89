import type { EventData, PlanSummary, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { paintFor } from "./output.ts";
import { renderDecide, renderPlanEvent, renderPlanSummary } from "./render-plan.ts";

const plain = paintFor({}, {});
const WIDE = Number.POSITIVE_INFINITY;
const AT = "2026-11-20T10:00:00.000Z";

const eventOf = (event: { type: string; data: unknown }): RunEvent =>
  ({ seq: 1, id: "run_x:1", runId: "run_x", turn: 1, attempt: 1, at: AT, ...event }) as RunEvent;
const ADA = { by: "person", userId: "user_1", userName: "Ada" } as const;

function planOf(change: Partial<PlanSummary> = {}): PlanSummary {
  const decided = { decidedAt: null, decidedBy: null, note: null, dueAt: null };
  return { version: 1, turn: 1, state: "proposed", source: "tool", hash: "0123456789abcdef", proposedAt: AT, ...decided, ...change };
}

/** As much of a run as is looked at here. */
function runOf(
  plan: PlanSummary | null,
  change: { status?: Run["status"]; planFirst?: boolean; onPlanTimeout?: "reject" | "approve" } = {},
): Run {
  const { status = "awaiting_plan", planFirst = true, onPlanTimeout = "reject" } = change;
  return { id: "run_x", status, planFirst, plan, settings: { onPlanTimeout } } as Run;
}

describe("events", () => {
  const proposed: EventData<"plan.proposed"> = {
    version: 2,
    text: "# Plan\n\n- one two three four\n",
    hash: "h",
    source: "message",
    dueAt: null,
  };

  test("a plan is shown in full, broken between words, without what a terminal would obey", () => {
    expect(renderPlanEvent(eventOf({ type: "plan.proposed", data: proposed }), plain, WIDE)).toBe(
      "▸ plan 2 (the agent's last message)\n\n  # Plan\n\n  - one two three four\n",
    );
    expect(renderPlanEvent(eventOf({ type: "plan.proposed", data: proposed }), plain, 16)).toContain("\n  - one two\n    three four\n");
    const text = "a\u001b[2Jb";
    expect(renderPlanEvent(eventOf({ type: "plan.proposed", data: { ...proposed, text } }), plain, WIDE)).toContain("  a�[2Jb\n");
  });

  test.each([
    [
      "plan.edited",
      { version: 3, replaces: 2, text: "Mine.", hash: "h", ...ADA },
      "▸ plan 3 (in the words of Ada, in place of plan 2)\n\n  Mine.\n",
    ],
    ["plan.approved", { version: 3, hash: "h", ...ADA }, "  ✓ plan 3 approved by Ada"],
    ["plan.approved", { version: 3, hash: "h", by: "policy" }, "  ✓ plan 3 approved by the policy"],
    [
      "plan.revised",
      { version: 2, feedback: "Shorter.\nMuch.", by: "person", userId: "user_1" },
      "  plan 2 sent back by user_1: Shorter.\n                              Much.",
    ],
    ["plan.rejected", { version: 2, reason: "No.", by: "person" }, "  ✗ plan 2 rejected by a person: No."],
    ["log", { text: "x" }, null],
  ])("%s", (type, data, said) => {
    expect(renderPlanEvent(eventOf({ type, data }), plain, WIDE)).toBe(said);
  });
});

test("how one decides is said while a plan waits, with what happens if nobody does", () => {
  const commands = '    runyard confirm run_x   (or: runyard revise run_x "<feedback>", runyard reject run_x)';
  const place = { paint: plain, width: WIDE };
  const early = Date.parse(AT) - 1;
  const due = planOf({ dueAt: AT });
  expect(renderDecide(runOf(planOf()), place)).toEqual([commands]);
  expect(renderDecide(runOf(due), place, early)).toEqual([`  ? if nobody decides until ${AT}, the policy rejects it`, commands]);
  expect(renderDecide(runOf(due, { onPlanTimeout: "approve" }), place, early)[0]).toContain("approves it");
  // Too late for a person.
  expect(renderDecide(runOf(due, { onPlanTimeout: "approve" }), place, Date.parse(AT))).toEqual(["  ? the policy approves it now"]);
  expect(renderDecide(runOf(planOf(), { status: "pending" }), place)).toEqual([]);
  expect(renderDecide(runOf(null), place)).toEqual([]);
});

test("a run's plan is summed up: version, state, who decided, source, hash, note", () => {
  const read = "          read it with: runyard plan run_x";
  expect(renderPlanSummary(runOf(null, { planFirst: false }), plain, WIDE)).toEqual([]);
  expect(renderPlanSummary(runOf(null), plain, WIDE)[0]).toContain("is made first");
  expect(renderPlanSummary(runOf(planOf()), plain, WIDE)).toEqual([
    `  plan    version 1, proposed at ${AT}, handed in by the agent · 0123456789ab`,
    read,
  ]);
  const rejected = planOf({ version: 2, turn: 3, state: "rejected", source: "steps", decidedAt: AT, decidedBy: ADA, note: "Not\nnow" });
  expect(renderPlanSummary(runOf(rejected), plain, WIDE)).toEqual([
    `  plan    version 2, turn 3, rejected by Ada at ${AT}, the agent's list of steps · 0123456789ab`,
    "          Not now",
    read,
  ]);
});
