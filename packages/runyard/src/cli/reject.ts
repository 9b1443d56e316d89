import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { findPlan, goesOn, versionOption, waitsForApproval } from "./decide-plan.ts";
import { printJson, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const reject = command("reject", {
  summary: "Reject a run's plan, what it may cost, or that its result is published; that ends it",
  group: GROUP.runs,
  more: "Nothing of the run reaches the repository. `runyard continue` can go on with it; `runyard revise` sends the plan back instead.",
  examples: ["runyard reject last", 'runyard reject 62g7a1 --reason "We keep the old parser"'],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(versionOption())
  .option("--reason <text>", "why, for the log")
  .addOption(jsonOption())
  .action(async (name: string, options: { version?: number; reason?: string; json?: boolean }) => {
    const client = connect();
    const reason = options.reason === undefined ? {} : { reason: options.reason };
    const id = await findRunId(client, name);
    const isPlan = options.version !== undefined || !waitsForApproval(await client.runs.get(id));
    if (!isPlan) {
      const run = await client.runs.reject(id, reason);
      if (options.json === true) printJson(run);
      else say(`Rejected ${run.id}. ${goesOn(run)}`);
      return;
    }
    const { runId, plan } = await findPlan(client, id, options.version);
    const run = await client.runs.rejectPlan(runId, { version: plan.version, ...reason });
    if (options.json === true) printJson(run);
    else say(`Rejected plan ${plan.version} of ${run.id}. ${goesOn(run)}`);
  });
