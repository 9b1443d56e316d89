import { MAX_PLAN_CHARS, TOOL_KINDS } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decidePermission } from "./permission-decision.ts";
import { defaultPolicy, normalizePolicy } from "./permission-policy.ts";
import {
  buildingPrompt,
  findPlan,
  type PlanDefaults,
  planningPolicy,
  planningPrompt,
  planSettingsOf,
  revisionPrompt,
  stillPlanning,
} from "./plan.ts";

const NOTHING: PlanDefaults = { organizationPlans: false, repositoryPlans: null, statement: null, autoConfirm: false };
const HELD = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
const LOOSE = { filesystem: "none", network: "none", processes: "none", syscalls: "none" } as const;

describe("settings", () => {
  test.each<[string, Parameters<typeof planSettingsOf>, boolean]>([
    ["nobody says anything", [{}, NOTHING], false],
    ["the organization plans", [{}, { ...NOTHING, organizationPlans: true }], true],
    ["the repository says more than the organization", [{}, { ...NOTHING, organizationPlans: true, repositoryPlans: false }], false],
    ["the request says most", [{ plan: true }, { ...NOTHING, repositoryPlans: false }], true],
    ["also where it says no", [{ plan: false }, { ...NOTHING, repositoryPlans: true }], false],
  ])("%s", (_, given, wanted) => {
    expect(planSettingsOf(...given)).toEqual({ wanted, strict: false, timeoutMs: null, onTimeout: "reject", statement: null });
  });

  test("a repository may confirm by itself, unless the request says how long a plan waits or what happens then", () => {
    const auto = { ...NOTHING, autoConfirm: true, statement: "Small steps." };
    expect(planSettingsOf({}, auto)).toMatchObject({ timeoutMs: 0, onTimeout: "approve", statement: "Small steps." });
    expect(planSettingsOf({ planTimeout: 5_000 }, auto)).toMatchObject({ timeoutMs: 5_000, onTimeout: "reject" });
    expect(planSettingsOf({ onPlanTimeout: "reject" }, auto)).toMatchObject({ timeoutMs: null, onTimeout: "reject" });
    expect(planSettingsOf({ strictPlan: true, planTimeout: 1, onPlanTimeout: "approve" }, NOTHING)).toMatchObject({
      strict: true,
      timeoutMs: 1,
      onTimeout: "approve",
    });
  });
});

describe("the policy of a plan phase", () => {
  const verdicts = (policy: ReturnType<typeof planningPolicy>): Record<string, string> =>
    Object.fromEntries(
      TOOL_KINDS.map((kind) => [
        kind,
        decidePermission(policy, { kind, paths: [], command: kind === "execute" ? "ls" : null, isWhole: true }).verdict,
      ]),
    );

  test("refuses what changes files; commands where nothing holds them, too", () => {
    const held = verdicts(planningPolicy(defaultPolicy(HELD), HELD));
    expect(Object.keys(held).filter((kind) => held[kind] === "deny")).toEqual(["edit", "delete", "move", "switch_mode"]);
    for (const isolation of [LOOSE, null]) {
      const loose = verdicts(planningPolicy(defaultPolicy(HELD), isolation));
      expect(Object.keys(loose).filter((kind) => loose[kind] === "deny")).toEqual(["edit", "delete", "move", "execute", "switch_mode"]);
    }
  });

  test("whatever the run's policy allows: no rule stands in front of it", () => {
    const wide = normalizePolicy({ rules: [{ decision: "allow" }], default: "allow" });
    const asked = { kind: "edit", paths: ["a.txt"], command: null, isWhole: true } as const;
    expect(decidePermission(wide, asked).verdict).toBe("allow");
    expect(decidePermission(planningPolicy(wide, HELD), asked)).toEqual({ verdict: "deny", rule: "plan phase" });
  });
});

describe("where the plan is", () => {
  const steps = (...states: ("pending" | "in_progress" | "completed")[]) =>
    states.map((status, at) => ({ content: `step ${at + 1}`, status, priority: "medium" as const }));

  test.each<[string, Parameters<typeof findPlan>[0], ReturnType<typeof findPlan>]>([
    ["nowhere", { handedIn: null, steps: [], lastText: null }, null],
    ["nowhere, but white space", { handedIn: " ", steps: [], lastText: "\n" }, null],
    ["in the last message", { handedIn: null, steps: [], lastText: " Do it. \n" }, { text: "Do it.", source: "message" }],
    ["in the tool first", { handedIn: "# Plan", steps: steps("pending"), lastText: "Handed in." }, { text: "# Plan", source: "tool" }],
    [
      "in steps that nobody has begun, with what was said of them",
      { handedIn: null, steps: steps("pending", "pending"), lastText: "My plan:" },
      { text: "My plan:\n\n- step 1\n- step 2", source: "steps" },
    ],
    ["in steps alone", { handedIn: null, steps: steps("pending"), lastText: null }, { text: "- step 1", source: "steps" }],
    [
      "not in steps of the planning itself",
      { handedIn: null, steps: steps("completed", "pending"), lastText: "Do it." },
      { text: "Do it.", source: "message" },
    ],
  ])("%s", (_, material, found) => {
    expect(findPlan(material)).toEqual(found);
  });

  test("what is kept is short enough, can be stored, and stays as it is when it is looked at again", () => {
    const odd = fc.array(fc.constantFrom("a", "\0", "\uD83D", "\uDE00", "😀", " ", "\n")).map((parts) => parts.join(""));
    const long = fc
      .tuple(odd, fc.integer({ min: MAX_PLAN_CHARS - 40, max: MAX_PLAN_CHARS + 40 }))
      .map(([text, length]) => text + "😀".repeat(length / 2));
    fc.assert(
      fc.property(fc.oneof(odd, long), (text) => {
        const plan = findPlan({ handedIn: text, steps: [], lastText: "x" })?.text ?? "";
        expect(plan.length).toBeLessThanOrEqual(MAX_PLAN_CHARS);
        expect(plan).not.toContain("\0");
        expect(Buffer.from(plan).toString()).toBe(plan);
        expect(findPlan({ handedIn: plan, steps: [], lastText: null })?.text).toBe(plan);
      }),
      { numRuns: 200 },
    );
    expect(findPlan({ handedIn: "x".repeat(MAX_PLAN_CHARS + 1), steps: [], lastText: null })?.text).toMatch(/cut off\.\)$/);
  });
});

describe("what the agent is told", () => {
  test("the task, that it is to plan, and what plans must respect", () => {
    expect(planningPrompt("Fix it", null)).toMatch(/^Fix it\n\n---\n\nDo not carry this out yet/);
    expect(planningPrompt("Fix it", null)).not.toContain("must respect");
    expect(planningPrompt("Fix it", "Tests first.")).toMatch(/must respect in this repository:\nTests first\.$/);
  });

  test("the feedback, and which version it is about", () => {
    expect(revisionPrompt(2, "Shorter.")).toMatch(/version 2\)[^]*\n\nShorter\.\n\n/);
  });

  test("answers that it waited for, and that it still plans", () => {
    expect(stillPlanning("The answer: 4600")).toMatch(
      /^The answer: 4600\n\nYou are still to make the plan: [^]*Still nothing may be changed\.$/,
    );
  });

  test("the plan as it was approved, and by whom it was worded", () => {
    expect(buildingPrompt({ text: "# P", isEdited: false })).toMatch(/^Your plan is approved\. [^]*# P$/);
    expect(buildingPrompt({ text: "# P", isEdited: true })).toMatch(/^A person has changed your plan [^]*# P$/);
  });
});
