import { type AnswerPermissionRequest, RunyardError } from "@runyard/sdk/contract";
import { type NormalRule, ruleForCallsLike } from "../core/permission-policy.ts";
import type { RequestRow } from "../store/run-row.ts";

/** The rule that an answer adds to the run's policy; null where it is to count once. Throws RunyardError where no rule can be made of the call. */
export function ruleToRemember(row: RequestRow, answer: AnswerPermissionRequest): NormalRule | null {
  if (answer.remember !== true) return null;
  const { call } = row.request.payload ?? {};
  const rule = call && ruleForCallsLike(call, answer.decision, `answer to ${row.id}`);
  if (rule !== undefined) return rule;
  const message =
    "This answer cannot be remembered: the call names neither a command nor a path that a rule could go by, or one that is too long. Answer it for this once.";
  throw new RunyardError("invalid_request", message, { errors: [{ path: "remember", message }] });
}

/** The rule by which an agent that was let go is answered when it asks again; null where none can be made of the call, so that a person is asked again. */
export function ruleForReleased(row: RequestRow, { decision }: AnswerPermissionRequest): NormalRule | null {
  const { call } = row.request.payload ?? {};
  return (call && ruleForCallsLike(call, decision, `answer to ${row.id}`)) ?? null;
}
