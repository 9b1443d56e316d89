import { money, type RunUsage, type UsageSum } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { count, duration, type Paint, paintFor, plural, print, printable, printJson, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const usage = command("usage", {
  summary: "Show what a run's model calls used and cost",
  group: GROUP.runs,
  more: "Together, by turn and by model; --calls shows every call. A model that has no known price has no cost: docs/budgets.md says how to give it one.",
  examples: ["runyard usage last", "runyard usage last --calls", "runyard usage 62g7a1 --json | jq .total.costUsd"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("--calls", "every call, too")
  .addOption(jsonOption())
  .action(async (name: string, options: { calls?: boolean; json?: boolean }) => {
    const client = connect();
    const found = await client.runs.usage(await findRunId(client, name));
    if (options.json === true) return printJson(found);
    if (found.total.modelCalls === 0) return say("No model call of this run went through the gateway (yet).");
    for (const line of renderReport(found, { paint: paintFor(process.stdout), calls: options.calls === true })) print(line);
  });

function renderReport(report: RunUsage, { paint, calls }: { readonly paint: Paint; readonly calls: boolean }): string[] {
  const nameOf = (one: { readonly provider: string | null; readonly model: string | null }): string =>
    printable([one.provider, one.model].filter((part) => part !== null).join("/")) || "unknown";
  const rows: [string, UsageSum][] = [
    ["total", report.total],
    ...(report.turns.length > 1 ? report.turns.map((one): [string, UsageSum] => [`turn ${one.turn}`, one]) : []),
    ...report.models.map((one): [string, UsageSum] => [nameOf(one), one]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, sum]) => `${paint("bold", name.padEnd(width))}  ${renderSum(sum)}`);
  if (report.simulated) lines.push(paint("yellow", "simulated, no AI: it costs nothing"));
  if (!calls) return lines;
  return [
    ...lines,
    "",
    ...report.calls.map((call) => {
      const time = call.durationMs === null ? "" : `  ${paint("dim", duration(call.durationMs))}`;
      const failed = call.ok ? "" : `  ${paint("red", `failed${call.status === null ? "" : ` (${call.status})`}`)}`;
      return `${paint("dim", call.at)}  ${nameOf(call)}  ${renderTokens(call)}, ${renderCost(call.costUsd)}${time}${failed}`;
    }),
  ];
}

function renderSum(sum: UsageSum): string {
  const failed = sum.failedModelCalls === 0 ? "" : ` (${sum.failedModelCalls} failed)`;
  const unknown = sum.unpricedCalls === 0 || sum.costUsd === null ? "" : ` and ${plural(sum.unpricedCalls, "call")} without a known cost`;
  return `${renderCost(sum.costUsd)}${unknown}, ${plural(sum.modelCalls, "call")}${failed}, ${renderTokens(sum)}`;
}

function renderTokens(sum: Pick<UsageSum, "inputTokens" | "outputTokens" | "cachedInputTokens">): string {
  const cached = sum.cachedInputTokens ? ` (${count(sum.cachedInputTokens)} from a cache)` : "";
  return `${count(sum.inputTokens)} tokens in${cached}, ${count(sum.outputTokens)} out`;
}

function renderCost(usd: number | null): string {
  return usd === null ? "cost unknown" : money(usd);
}
