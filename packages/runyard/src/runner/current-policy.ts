import type { ConversationSpec, JournalLine } from "../agents/acp/conversation.ts";
import { planningPolicy } from "../core/plan.ts";
import { type NormalPolicy, normalizePolicy } from "../core/permission-policy.ts";
import type { RunRow } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import type { RunnerContext } from "./context.ts";
import type { RunHandle } from "./run-handle.ts";

/** What the present phase allows: a plan phase less than the run. */
export function policyInForce(row: RunRow): NormalPolicy {
  const policy = normalizePolicy(row.spec.permissionPolicy);
  return row.plans ? planningPolicy(policy, row.sandbox?.isolation ?? null) : policy;
}

/**
 * The conversation's terms for these lines. Where they ask for permission, the policy is read anew, after the lines:
 * an agent that goes on after a remembered answer has read it, so its rule was committed before.
 */
export async function termsFor(
  ctx: Pick<RunnerContext, "db">,
  handle: RunHandle,
  { spec, lines }: { readonly spec: ConversationSpec; readonly lines: readonly JournalLine[] },
): Promise<ConversationSpec> {
  if (!lines.some((line) => "text" in line && line.text.includes("request_permission"))) return spec;
  const run = await reloadRun(ctx.db, handle.row);
  return run === undefined ? spec : { ...spec, policy: policyInForce(run) };
}
