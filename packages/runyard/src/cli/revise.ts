import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { findPlan, goesOn, versionOption } from "./decide-plan.ts";
import { printJson, say } from "./output.ts";
import { RUN_ARGUMENT } from "./run-reference.ts";
import { taskOf } from "./run.ts";

export const revise = command("revise", {
  summary: "Send a run's plan back to the agent with feedback",
  group: GROUP.runs,
  more: "The agent makes the next version of the plan, in the same conversation, and the run waits again.",
  examples: ['runyard revise last "leave the public API as it is"', "runyard revise 62g7a1 - < review.md"],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("<feedback>", 'what should be different; "-" reads it from stdin')
  .addOption(versionOption())
  .addOption(jsonOption())
  .action(async (name: string, words: string, options: { version?: number; json?: boolean }) => {
    const feedback = await taskOf(words);
    const client = connect();
    const { runId, plan } = await findPlan(client, name, options.version);
    const run = await client.runs.revisePlan(runId, { version: plan.version, feedback });
    if (options.json === true) printJson(run);
    else say(`Sent plan ${plan.version} of ${run.id} back. ${goesOn(run)}`);
  });
