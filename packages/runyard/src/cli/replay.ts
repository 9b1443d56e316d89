import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { EXIT } from "./exit-codes.ts";
import { exitCodeOf, followRun } from "./follow.ts";
import { paintFor, print, printJson } from "./output.ts";
import { isIdentical, renderReplay } from "./render-replay.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { proseWidthOf } from "./screen.ts";

export const replay = command("replay", {
  summary: "Run again what a run did, on its recording, and show the first difference",
  group: GROUP.runs,
  more: `A new run does the first turn once more: the same task and settings on the same commit. Its agent gets the recorded answers; no model is called, and no branch is made. What people answered is not recorded, so what the agent asks is asked again.
Exit codes: 0 identical, 1 it differs, 3 cancelled or refused, 130 interrupted.`,
  examples: ["runyard replay last", "runyard replay 62g7a1 --json | jq .replay"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("-v, --verbose", "show thoughts and the agent's stray output too")
  .addOption(jsonOption())
  .action(async (name: string, options: { verbose?: boolean; json?: boolean }) => {
    const client = connect();
    const created = await client.runs.replay(await findRunId(client, name));
    const json = options.json === true;
    const ended = await followRun(client, created, { json, ndjson: false, verbose: options.verbose === true, hints: false });
    if (json) printJson(ended);
    else for (const line of renderReplay(ended, paintFor(process.stdout), proseWidthOf(process.stdout))) print(line);
    process.exitCode ??= ended.status === "cancelled" ? exitCodeOf(ended) : isIdentical(ended) ? EXIT.ok : EXIT.failed;
  });
