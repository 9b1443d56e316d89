import type { RunDiff } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { type Paint, paintFor, print, printJson, say, writeOut } from "./output.ts";
import { renderPatch } from "./render-patch.ts";
import { renderFiles } from "./render-files.ts";
import { repositoryOption } from "./repository-options.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const diff = command("diff", {
  summary: "Show what a run changed, as a patch",
  group: GROUP.runs,
  more: "Where stdout is no terminal, the patch comes as git made it: `git apply` takes it.",
  examples: ["runyard diff last", "runyard diff last --stat", "runyard diff 62g7a1 | git apply"],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(repositoryOption())
  .option("--stat", "only the files, and how many lines of each")
  .addOption(jsonOption())
  .action(async (name: string, { repository, ...options }: { repository?: string; stat?: boolean; json?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    const of = repository === undefined ? {} : { repository };
    if (options.json === true) return printJson(await client.runs.diff(id, of));
    const paint = paintFor(process.stdout);
    if (options.stat === true) return showStat(await client.runs.diff(id, of), paint);
    const patch = client.runs.patchStream(id, of);
    const size = await writeOut(process.stdout.isTTY ? renderPatch(patch, paint) : patch);
    if (size === 0) say("This run changed nothing (yet).");
  });

function showStat(changed: RunDiff, paint: Paint): void {
  if (changed.files.length === 0) return say("This run changed nothing (yet).");
  for (const line of renderFiles(changed.files, paint)) print(line);
}
