import type { NewEvent } from "@runyard/sdk/contract";
import { type NewRequest, permissionAnswer, questionAnswer } from "../agents/acp/conversation.ts";
import { recordedAnswers } from "../core/replay.ts";
import { CLAIM, control } from "../engine/wakes.ts";
import { type AnsweredRow, askedIn } from "../store/replay-answers.ts";
import type { RunRow } from "../store/run-row.ts";
import { answerRequest } from "../store/runs.ts";
import type { RunnerContext } from "./context.ts";

/**
 * Answers what the agent of a replay asks as people answered it in the recorded run, where that was the same. What
 * was not asked then waits for a person.
 */
export async function answerAsRecorded(ctx: Pick<RunnerContext, "db" | "wakes">, run: RunRow): Promise<void> {
  if (run.replay === null || run.open_requests === 0) return;
  const [asked, recorded] = await Promise.all([askedIn(ctx.db, run), askedIn(ctx.db, { id: run.replay.of, org_id: run.org_id })]);
  const answers = recordedAnswers(asked.map(withTitle), recorded.map(withTitle));
  if (answers.length === 0) return;
  for (const { own, as } of answers) {
    const { line, event } = said(own, as);
    const answer = { orgId: run.org_id, runId: run.id, requestId: own.id, answer: as.answer ?? "", by: null, line, event };
    await answerRequest(ctx.db, answer);
  }
  ctx.wakes.notify(run.id);
  ctx.wakes.notify(control(run.id));
  // Of a run whose agent left its questions behind, the last answer queues it.
  ctx.wakes.notify(CLAIM);
}

function withTitle(row: AnsweredRow): AnsweredRow & { readonly title: string } {
  return { ...row, title: row.request.title };
}

/** The agent is told what it was told then; the log says that it comes from the recording. */
function said(own: AnsweredRow, as: AnsweredRow): { readonly line: string; readonly event: NewEvent } {
  const request = own.request as NewRequest;
  if (own.kind === "question") {
    const { line } = questionAnswer(request, as.answer ?? "");
    return { line, event: { type: "question.answered", data: { questionId: own.id, answer: as.answer, by: "policy" } } };
  }
  const { line, event } = permissionAnswer(request, as.answer === "allow" ? "allow" : "deny", as.person ?? { userId: "" });
  if (event.type !== "permission.resolved") throw new Error("an answer to a permission tells of something else");
  const { permissionId, decision, optionId } = event.data;
  return { line, event: { type: "permission.resolved", data: { permissionId, decision, optionId, by: "policy", rule: "recording" } } };
}
