import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { goesOn } from "./decide-plan.ts";
import { printJson, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const approve = command("approve", {
  summary: "Let a run begin that waits because of what it may cost, or let its result be published",
  group: GROUP.runs,
  more: "A run whose estimate is above --approval-above (its own, its agent's, its repository's or the organization's, whichever is lowest) waits for a person, and so does one that nobody can estimate. One whose result touches protected files waits before that is published (`runyard organization --protect`); look at it with `runyard diff <run>`. `runyard show <run>` says what it waits for; `runyard reject <run>` ends it. The first decision counts; one that was rejected or cancelled is refused with exit code 3.",
  examples: ["runyard approve last", "runyard approve 62g7a1 --json", "runyard runs --status awaiting_input"],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(jsonOption())
  .action(async (name: string, options: { json?: boolean }) => {
    const client = connect();
    const run = await client.runs.approve(await findRunId(client, name));
    if (options.json === true) printJson(run);
    else say(`Approved ${run.id}. ${goesOn(run)}`);
  });
