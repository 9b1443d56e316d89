import type { Plan, PlanDecider, PlanSource, PlanSummary, Run, RunEvent } from "@runyard/sdk/contract";
import { oneLine, type Paint, printable } from "./output.ts";
import { wrap, wrapBehind } from "./text.ts";

/** Characters of a hash that are shown: enough to tell plans apart. */
const HASH_CHARS = 12;
/** Longest reason or feedback that is shown where only a line is wanted. */
const NOTE_CHARS = 400;

const SOURCES: Readonly<Record<PlanSource, string>> = {
  tool: "handed in by the agent",
  steps: "the agent's list of steps",
  message: "the agent's last message",
  person: "in a person's words",
};

/** Who decided, by name: admin, or the policy. */
function deciderName({ by, userName, userId }: PlanDecider): string {
  return by === "policy" ? "the policy" : oneLine(userName ?? userId ?? "a person");
}

/** Lines for the events that tell of plans and of what was decided about them; null: it is another event. */
export function renderPlanEvent(event: RunEvent, paint: Paint, width: number): string | null {
  switch (event.type) {
    case "plan.proposed":
      return renderText(event.data, SOURCES[event.data.source], { paint, width });
    case "plan.edited":
      return renderText(event.data, `in the words of ${deciderName(event.data)}, in place of plan ${event.data.replaces}`, {
        paint,
        width,
      });
    case "plan.approved":
      return `  ${paint("green", `✓ plan ${event.data.version} approved by ${deciderName(event.data)}`)}`;
    case "plan.revised":
      return wrapBehind(
        `  ${paint("yellow", `plan ${event.data.version} sent back by ${deciderName(event.data)}:`)} `,
        printable(event.data.feedback),
        width,
      );
    case "plan.rejected":
      return wrapBehind(
        `  ${paint("red", `✗ plan ${event.data.version} rejected by ${deciderName(event.data)}:`)} `,
        printable(event.data.reason),
        width,
      );
    default:
      return null;
  }
}

interface Place {
  readonly paint: Paint;
  readonly width: number;
}

/** A whole plan, as text that is meant to be read. */
function renderText(plan: { readonly version: number; readonly text: string }, note: string, { paint, width }: Place): string {
  const body = wrap(printable(plan.text).trim(), { width, indent: "  " });
  return `${paint(["bold", "cyan"], `▸ plan ${plan.version}`)} ${paint("dim", `(${note})`)}\n\n${body}\n`;
}

/** How one decides about the plan that a run waits with, and what happens if nobody does. */
export function renderDecide(run: Run, { paint, width }: Place, nowMs = Date.now()): string[] {
  const { plan } = run;
  if (run.status !== "awaiting_plan" || plan === null) return [];
  const policy = `the policy ${run.settings.onPlanTimeout === "approve" ? "approves" : "rejects"} it`;
  const note = (line: string): string => wrap(`${paint("yellow", "?")} ${line}`, { width, indent: "  " });
  // Nobody has the time to decide any more.
  if (plan.dueAt !== null && Date.parse(plan.dueAt) <= nowMs) return [note(`${policy} now`)];
  const due = plan.dueAt === null ? [] : [note(`if nobody decides until ${plan.dueAt}, ${policy}`)];
  const commands = `runyard confirm ${run.id}   (or: runyard revise ${run.id} "<feedback>", runyard reject ${run.id})`;
  return [...due, wrap(commands, { width, indent: "    " })];
}

/** What a run's document tells of its plan, as lines. */
export function renderPlanSummary(run: Run, paint: Paint, width: number): string[] {
  const { plan } = run;
  const heading = (word: string): string => `  ${paint("dim", word.padEnd(7))} `;
  if (plan === null) return run.planFirst ? [`${heading("plan")}is made first; nothing is changed before you decide about it`] : [];
  const lines = [wrapBehind(heading("plan"), `${describePlan(plan)} · ${shortHash(plan.hash)}`, width)];
  if (plan.note !== null) lines.push(wrapBehind(heading(""), oneLine(plan.note, NOTE_CHARS), width));
  lines.push(`${heading("")}${paint("dim", "read it with:")} runyard plan ${run.id}`);
  return lines;
}

/** version 2, approved by admin at 2026-…, handed in by the agent */
export function describePlan(plan: Plan | PlanSummary): string {
  const by = plan.decidedBy === null ? "" : ` by ${deciderName(plan.decidedBy)}`;
  const at = plan.decidedAt ?? plan.proposedAt;
  const turn = plan.turn === 1 ? "" : `turn ${plan.turn}, `;
  return `version ${plan.version}, ${turn}${plan.state}${by} at ${at}, ${SOURCES[plan.source]}`;
}

/** The beginning of a hash, as people compare it. */
export function shortHash(hash: string): string {
  return hash.slice(0, HASH_CHARS);
}
