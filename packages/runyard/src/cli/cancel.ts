import { command, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { printJson, say } from "./output.ts";

export const cancel = command("cancel", "Cancel a run: its processes end, its log stays")
  .argument("<run>", "the run's id")
  .addOption(jsonOption())
  .action(async (id: string, options: { json?: boolean }) => {
    const client = connect();
    await client.runs.cancel(id);
    const run = await client.runs.waitForEnd(id);
    if (options.json === true) printJson(run);
    else say(`${run.id} is ${run.status}.`);
  });
