import { MAX_RULES } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { normalizePolicy } from "../core/permission-policy.ts";
import type { RequestRow, RunRow } from "../store/run-row.ts";
import { ruleForReleased } from "./remember.ts";

const row = (command: string | null): RequestRow => ({
  id: "perm_1_0",
  attempt: 1,
  kind: "permission",
  request: { title: "x", toolKind: "execute", payload: { call: { kind: "execute", paths: [], command, isWhole: true } } },
  answer: null,
  closed_at: null,
});
const runWith = (rules: number): Pick<RunRow, "spec"> => ({
  spec: {
    agent: { profile: "builtin", command: null },
    model: null,
    permissionPolicy: normalizePolicy({ rules: Array.from({ length: rules }, () => ({ decision: "ask" as const })) }),
    timeoutMs: 1,
    sandboxDriver: "process",
  },
});
const once = { decision: "allow", remember: false } as const;

test("an agent that was let go is answered by a rule when it asks again", () => {
  expect(ruleForReleased(row("npm test"), runWith(1), once)).toMatchObject({ decision: "allow", commands: ["npm test"] });
});

test("where no rule can be made, or the policy is full, the answer still counts, and a person is asked again", () => {
  expect(ruleForReleased(row(null), runWith(1), once)).toBeNull();
  expect(ruleForReleased(row("npm test"), runWith(MAX_RULES), once)).toBeNull();
});

test("what is asked to be remembered is, or the answer is refused", () => {
  expect(ruleForReleased(row("npm test"), runWith(MAX_RULES), { ...once, remember: true })).not.toBeNull();
  expect(() => ruleForReleased(row(null), runWith(1), { ...once, remember: true })).toThrow("cannot be remembered");
});
