import type { Run } from "@runyard/sdk/contract";
import { count, duration, oneLine, type Paint, plural } from "./output.ts";

/** The colour of a status, the same wherever it is shown. */
function statusStyle(status: Run["status"]): "green" | "red" | "yellow" | "cyan" {
  if (status === "completed") return "green";
  if (status === "failed" || status === "timeout") return "red";
  return status === "running" || status === "pending" ? "cyan" : "yellow";
}

export function paintStatus(run: Run, paint: Paint): string {
  return paint(statusStyle(run.status), run.status);
}

/** The head of a run: who does what, where. */
export function renderHead(run: Run, paint: Paint): string {
  const model = run.model === null ? "" : ` · ${run.model}`;
  const simulated = run.simulated ? paint("yellow", " · simulated: a scripted model, no AI") : "";
  const commit = run.baseCommit.slice(0, 10);
  return [
    `${paint("bold", run.id)}  ${run.agent.profile}${model}${simulated}`,
    `  ${oneLine(run.task, 160)}`,
    paint("dim", `  ${run.repositoryUrl} · ${run.branch ?? "detached head"} at ${commit}`),
  ].join("\n");
}

/** The end of a run: what came of it, what it used, and how to look at it. */
export function renderEnd(run: Run, paint: Paint): string {
  const lines = [`${paint(["bold", statusStyle(run.status)], run.status)} after ${duration(run.usage.executionTime)}`];
  if (run.error !== null) lines.push(`  ${paint("red", run.error.type)}: ${oneLine(run.error.message, 1_000)}`);
  if (run.result !== null) lines.push(...renderResult(run, run.result, paint));
  lines.push(`  ${paint("dim", "usage  ")} ${renderUsage(run)}`);
  return lines.join("\n");
}

function renderResult(run: Run, result: NonNullable<Run["result"]>, paint: Paint): string[] {
  if (result.headBranch === null) return [`  ${paint("dim", "change ")} none: the agent changed no file`];
  const change = `${plural(result.filesChanged, "file")} changed, ${paint("green", `+${result.insertions}`)} ${paint("red", `−${result.deletions}`)}`;
  return [
    `  ${paint("dim", "branch ")} ${paint("bold", result.headBranch)}  (${change})`,
    `  ${paint("dim", "look   ")} git -C ${shellWord(run.repositoryUrl)} diff ${result.baseCommit.slice(0, 10)} ${result.headBranch}`,
    `  ${paint("dim", "take   ")} git -C ${shellWord(run.repositoryUrl)} merge ${result.headBranch}`,
  ];
}

function renderUsage(run: Run): string {
  const { usage } = run;
  if (usage.modelCalls === 0) return "no model call went through the gateway";
  const failed = usage.failedModelCalls === 0 ? "" : ` (${usage.failedModelCalls} failed)`;
  return `${count(usage.inputTokens)} tokens in, ${count(usage.outputTokens)} out, ${plural(usage.modelCalls, "model call")}${failed}${run.simulated ? ", simulated" : ""}`;
}

/** A word that can be pasted into a POSIX shell. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
