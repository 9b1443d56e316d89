import type { ConversationSpec } from "../agents/acp/conversation.ts";
import { retell } from "../agents/acp/retell.ts";
import { normalizePolicy } from "../core/permission-policy.ts";
import { promptOf, type RunRow } from "../store/run-row.ts";
import { pathsInside, profileOf } from "./agent-launch.ts";
import type { RunnerContext } from "./context.ts";

/** What a run's conversation needs to know from outside. */
export function conversationSpec(ctx: RunnerContext, row: RunRow): ConversationSpec {
  return {
    cwd: pathsInside(ctx, row).workspace,
    prompt: promptOf(row),
    ...earlierOf(row),
    attempt: row.attempt,
    policy: normalizePolicy(row.spec.permissionPolicy),
    profileQuirks: profileOf(ctx, row).quirks,
  };
}

/** What the turn goes on with, where it is not the first. */
function earlierOf({ task, prompt, carry }: RunRow): Pick<ConversationSpec, "earlier"> {
  if (carry === null || prompt === null) return {};
  const retold = retell({ task, lastPrompt: carry.prompt, lastWords: carry.lastWords, prompt });
  return { earlier: { sessionId: carry.sessionId, retold } };
}

/** The gateway token of the run is the one secret inside the sandbox; it must not reach the log. */
export function redactor(ctx: RunnerContext, row: RunRow): (text: string) => string {
  const token = ctx.gatewayToken(row);
  return (text) => text.replaceAll(token, "[gateway token]");
}
