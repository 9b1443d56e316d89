import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor, print, printJson, say } from "./output.ts";
import { renderPeaks, renderSamples } from "./render-metrics.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

const SHOWN = 20;

export const metrics = command("metrics", {
  summary: "Show what a run used of its machine: processors, memory, processes, disk",
  group: GROUP.runs,
  more: "Totals and peaks, and the last samples: one every ten seconds, less often in a run that takes long. `load` is the share of one processor since the sample before. Figures that were not measured are left blank.",
  examples: ["runyard metrics last", "runyard metrics last --all", "runyard metrics 62g7a1 --json | jq .peaks.memoryBytes"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("--all", `every sample, not only the last ${SHOWN}`)
  .addOption(jsonOption())
  .action(async (name: string, options: { all?: boolean; json?: boolean }) => {
    const client = connect();
    const found = await client.runs.metrics(await findRunId(client, name));
    if (options.json === true) return printJson(found);
    if (found.data.length === 0)
      return say("Nothing of this run was measured (yet): a sample is taken every ten seconds, and when its agent ends.");
    const lines = renderSamples(found.data, paintFor(process.stdout));
    const hidden = options.all === true ? 0 : Math.max(0, found.data.length - SHOWN);
    print(renderPeaks(found));
    print("");
    for (const line of [...lines.slice(0, 1), ...lines.slice(1 + hidden)]) print(line);
    if (hidden > 0) say(`${hidden} earlier ${hidden === 1 ? "sample is" : "samples are"} shown with --all.`);
  });
