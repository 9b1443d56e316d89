import type { ConversationSpec } from "../agents/acp/conversation.ts";
import { retell } from "../agents/acp/retell.ts";
import { answersPrompt, interruptedPrompt } from "../core/answers.ts";
import { baseWords } from "../core/base-words.ts";
import { buildingPrompt, planningPrompt, revisionPrompt, stillPlanning } from "../core/plan.ts";
import { firstPromptOf, type GoingOn, planSettings, type RunRow } from "../store/run-row.ts";
import { pathsInside, profileOf } from "./agent-launch.ts";
import { attemptState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { policyInForce } from "./current-policy.ts";
import { mcpServersFor } from "./mcp-servers.ts";
import { loginOf } from "./own-login.ts";
import type { RunSecrets } from "./run-secrets.ts";
import { repositoriesInside } from "./repository-places.ts";
import { runToolsFor } from "./run-tools.ts";

/** What a run's conversation needs to know from outside. */
export function conversationSpec(ctx: RunnerContext, row: RunRow): ConversationSpec {
  const additionalDirectories = repositoriesInside(ctx, row);
  return {
    cwd: pathsInside(ctx, row).workspace,
    ...(additionalDirectories.length > 0 && { additionalDirectories }),
    prompt: wordsFor(row),
    ...earlierOf(row),
    ...(row.plans && { plans: true }),
    attempt: row.attempt,
    policy: policyInForce(row),
    profileQuirks: profileOf(ctx, row).quirks,
    mcpServers: [...runToolsFor(ctx, row), ...mcpServersFor(ctx, row)],
  };
}

/** What the agent is asked now: the turn's prompt, or what became of its plan, of its questions or of itself. */
function wordsFor(row: RunRow): string {
  const next = row.carry?.goesOn?.next ?? null;
  if (next?.type === "answered") {
    const answers = answersPrompt(attemptState(row).answers ?? []);
    return row.plans ? stillPlanning(answers) : answers;
  }
  return next?.type === "lost" ? interruptedPrompt(workOf(row, next)) : workOf(row, next);
}

/** What the agent is at work on. */
function workOf(row: RunRow, next: GoingOn["next"] | null): string {
  if (next?.type === "answered" || next?.type === "lost") return workOf(row, next.before);
  if (next?.type === "build") return buildingPrompt(next);
  if (next?.type === "checks") return next.text;
  if (next?.type === "revise") return revisionPrompt(next.version, next.feedback);
  const asked = askedOf(row);
  return row.plans ? planningPrompt(asked, planSettings(row).statement) : asked;
}

/** What the turn was asked; where it brought in its base branch, with what the agent finds of that. */
function askedOf(row: RunRow): string {
  const asked = row.prompt ?? firstPromptOf(row);
  const { rebase } = attemptState(row);
  const wanted = row.carry?.rebase;
  return rebase === undefined || wanted === undefined ? asked : baseWords({ ...wanted, ...rebase }, wanted.hasTask ? asked : null);
}

/** What the conversation goes on with, where it is not the run's first. */
function earlierOf(row: RunRow): Pick<ConversationSpec, "earlier"> {
  const { carry } = row;
  if (carry === null) return {};
  const first = firstPromptOf(row);
  const lastPrompt = carry.prompt === row.task ? first : carry.prompt;
  const next = carry.goesOn?.next ?? null;
  const prompt = next?.type === "answered" ? `${workOf(row, next)}\n\n---\n\n${wordsFor(row)}` : wordsFor(row);
  const retold = retell({ task: first, lastPrompt, lastWords: carry.lastWords, prompt });
  return { earlier: { sessionId: carry.sessionId, retold } };
}

/**
 * Nothing that is secret in the sandbox must reach the log: the run's token for the gateway, the login that its agent may have, and
 * what it was given.
 */
export function redactor(ctx: RunnerContext, row: RunRow, secrets: RunSecrets): (text: string) => string {
  const token = ctx.gatewayToken(row);
  const login = loginOf(ctx, row)?.accessToken;
  return (text) => {
    const redacted = text.replaceAll(token, "[gateway token]");
    return secrets.redactor.text(login === undefined ? redacted : redacted.replaceAll(login, "[login token]"));
  };
}
