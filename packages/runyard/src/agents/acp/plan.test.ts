import { expect, it } from "vitest";
import { planningPolicy } from "../../core/plan.ts";
import { chunk, dataOf, END_TURN, INITIALIZED, journal, OPENED, permission, play, SPEC, update } from "./testing/play.ts";

const PLANNING = { ...SPEC, plans: true, policy: planningPolicy(SPEC.policy, null) };
const handIn = (rawInput: { plan: string | null }, kind = "switch_mode"): string =>
  update("tool_call", { toolCallId: "t", title: "Ready to code?", kind, rawInput });
const plays = (lines: readonly string[], spec: typeof SPEC = PLANNING) =>
  play(journal([INITIALIZED, OPENED, ...lines, END_TURN]), { spec });

it("keeps the plan that a tool hands in: the last one, whole", () => {
  const long = "x".repeat(65_536);
  const played = plays([handIn({ plan: "# First" }), handIn({ plan: long }), chunk("Handed in.")]);
  expect(played.state).toMatchObject({ handedIn: long, lastText: "Handed in." });
});

it.each([
  ["in a turn that does not plan", SPEC, handIn({ plan: "# Plan" })],
  ["of another kind of tool", PLANNING, handIn({ plan: "# Plan" }, "think")],
  ["without words", PLANNING, handIn({ plan: " \n" })],
  ["that is none", PLANNING, handIn({ plan: null })],
])("takes no plan %s", (_, spec, line) => {
  expect(plays([line], spec).state.handedIn).toBeUndefined();
});

it("takes the plan from an agent that asks leave to carry it out, and refuses that: a person decides about the plan", () => {
  const options = [
    { optionId: "yes", name: "Yes", kind: "allow_always" },
    { optionId: "no", name: "Keep planning", kind: "reject_once" },
  ];
  const played = plays([
    permission(7, { toolCall: { toolCallId: "t", kind: "switch_mode", title: "Ready?", rawInput: { plan: "# P" } }, options }),
  ]);
  expect(played.state.handedIn).toBe("# P");
  expect(dataOf(played.events, "permission.resolved")).toMatchObject([
    { decision: "deny", optionId: "no", by: "policy", rule: "plan phase" },
  ]);
  expect(played.requests).toEqual([]);
});
