import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { printJson, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const cancel = command("cancel", {
  summary: "Cancel a run for certain",
  group: GROUP.runs,
  more: "Its processes end and its log stays. Returns when the run has ended. A run that has ended before is refused with exit code 3.",
  examples: ["runyard cancel last", "runyard cancel 62g7a1 --json"],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(jsonOption())
  .action(async (name: string, options: { json?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    await client.runs.cancel(id);
    const run = await client.runs.waitForEnd(id);
    if (options.json === true) printJson(run);
    else say(`${run.id} is ${run.status}.`);
  });
