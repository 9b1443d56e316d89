import type { ConversationSpec } from "../agents/acp/conversation.ts";
import { normalizePolicy } from "../core/permission-policy.ts";
import type { RunRow } from "../store/run-row.ts";
import { pathsInside, profileOf } from "./agent-launch.ts";
import type { RunnerContext } from "./context.ts";

/** What a run's conversation needs to know from outside. */
export function conversationSpec(ctx: RunnerContext, row: RunRow): ConversationSpec {
  return {
    cwd: pathsInside(ctx, row).workspace,
    prompt: row.task,
    attempt: row.attempt,
    policy: normalizePolicy(row.spec.permissionPolicy),
    profileQuirks: profileOf(ctx, row).quirks,
  };
}

/** The gateway token of the run is the one secret inside the sandbox; it must not reach the log. */
export function redactor(ctx: RunnerContext, row: RunRow): (text: string) => string {
  const token = ctx.gatewayToken(row);
  return (text) => text.replaceAll(token, "[gateway token]");
}
