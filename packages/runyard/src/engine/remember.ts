import { type AnswerPermissionRequest, RunyardError } from "@runyard/sdk/contract";
import { hasRoomFor, normalizePolicy, type NormalRule, ruleForCallsLike } from "../core/permission-policy.ts";
import type { RequestRow, RunRow } from "../store/run-row.ts";

/** The rule that an answer adds to the run's policy; null where it is to count once. Throws RunyardError where no rule can be made of the call. */
export function ruleToRemember(row: RequestRow, answer: AnswerPermissionRequest): NormalRule | null {
  if (answer.remember !== true) return null;
  const rule = ruleOf(row, answer);
  if (rule !== undefined) return rule;
  const message =
    "This answer cannot be remembered: the call names neither a command nor a path that a rule could go by, or one that is too long. Answer it for this once.";
  throw new RunyardError("invalid_request", message, { errors: [{ path: "remember", message }] });
}

/**
 * The rule by which an agent that was let go is answered when it asks again; null where none can be made of the call, or
 * the policy has no room for it, so that a person is asked again. Throws as `ruleToRemember` does where it is to be remembered.
 */
export function ruleForReleased(row: RequestRow, run: Pick<RunRow, "spec">, answer: AnswerPermissionRequest): NormalRule | null {
  const remembered = ruleToRemember(row, answer);
  if (remembered !== null) return remembered;
  const rule = ruleOf(row, answer);
  return rule !== undefined && hasRoomFor(normalizePolicy(run.spec.permissionPolicy), rule) ? rule : null;
}

function ruleOf(row: RequestRow, { decision }: AnswerPermissionRequest): NormalRule | undefined {
  const { call } = row.request.payload ?? {};
  return call && ruleForCallsLike(call, decision, `answer to ${row.id}`);
}
