import type { Run, RunMetrics } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { type Paint, paintFor, print, printable, printJson } from "./output.ts";
import { placeOf } from "./queue.ts";
import { renderAttempts } from "./render-attempts.ts";
import { describeSandbox } from "./render-event.ts";
import { renderPeaks } from "./render-metrics.ts";
import { renderDecide, renderPlanSummary } from "./render-plan.ts";
import { renderPolicy } from "./render-policy.ts";
import { renderReplay } from "./render-replay.ts";
import { paintStatus, renderBudget, renderEnd, renderGiven, renderHead, renderWaiting } from "./render-run.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { proseWidthOf } from "./screen.ts";
import { wrap, wrapBehind } from "./text.ts";

export const show = command("show", {
  summary: "Show one run: how it stands and what came of it",
  group: GROUP.runs,
  examples: ["runyard show last", "runyard show 62g7a1 --json | jq .result.headBranch"],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(jsonOption())
  .action(async (name: string, options: { json?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    const run = await client.runs.get(id);
    if (options.json === true) return printJson(run);
    // A server of an earlier version has none.
    const metrics = await client.runs.metrics(id).catch(() => null);
    print(renderRun(run, { metrics, paint: paintFor(process.stdout), width: proseWidthOf(process.stdout) }));
  });

interface Shown {
  readonly metrics: RunMetrics | null;
  readonly paint: Paint;
  readonly width: number;
}

function renderRun(run: Run, { metrics, paint, width }: Shown): string {
  const lines = [renderHead(run, paint, width)];
  lines.push(...renderGiven(run, paint, width));
  if (run.sandbox !== null) lines.push(wrapBehind(`  ${paint("dim", "sandbox")} `, describeSandbox(run.sandbox), width));
  lines.push(renderPolicy(run.permissionPolicy, paint, width));
  lines.push(...renderPlanSummary(run, paint, width));
  lines.push(...renderAttempts(run, paint, width));
  if (metrics !== null && metrics.data.length > 0) lines.push(wrapBehind(`  ${paint("dim", "machine")} `, renderPeaks(metrics), width));
  lines.push(...renderReplay(run, paint, width).map((line) => `  ${line}`));
  if (run.finishedAt === null) {
    if (run.budget !== null) lines.push(`  ${paint("dim", "budget ")} ${renderBudget(run, run.budget)}`);
    const percentage = run.progress.percentage === null ? "" : `, ${run.progress.percentage} % done`;
    const step = run.queuePosition === null ? run.progress.currentStep : placeOf(run);
    lines.push(
      `${paintStatus(run, paint)}, ${step}${percentage}`,
      ...renderWaiting(run, paint, width),
      ...renderDecide(run, { paint, width }),
    );
    return lines.join("\n");
  }
  const summary = printable(run.result?.summary ?? "").trim();
  if (summary !== "") lines.push("", wrap(summary, { width, indent: "  " }), "");
  lines.push(renderEnd(run, { paint, width, hints: true }));
  return lines.join("\n");
}
