import { addBudgetOptions, type BudgetOptions, budgetRequest } from "./budget-options.ts";
import { command, GROUP, jsonOption, ndjsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { handOver, type HandOverOptions } from "./hand-over.ts";
import { noPlanOption, planOption } from "./plan-options.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { taskOf } from "./run.ts";

const NAME = "continue";

const base = command(NAME, {
  summary: "Go on with a run that has ended, in the same workspace and conversation",
  group: GROUP.runs,
  more: `The agent knows what was said, and finds its files as it left them. The run's branch goes on from its last commit. A run that failed or was cancelled can be continued too; one whose turn is not over is refused with exit code 3. Without --plan and --no-plan a turn plans where the first one did. With --rebase, what the base branch is by now is merged in first, and the text may be left out. A budget holds for all turns together: one that was used up needs a bigger one. Ctrl-C cancels the run, a second Ctrl-C leaves it running.
Exit codes: 0 completed, 1 failed, 3 cancelled, refused or its plan rejected, 130 interrupted.`,
  examples: [
    'runyard continue last "now add a test for it"',
    'runyard continue last "make it faster" --plan',
    "runyard continue 62g7a1 - --detach < review.md",
    "runyard continue last --rebase",
  ],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("[text]", 'what to do next; "-" reads it from stdin')
  .addOption(planOption())
  .addOption(noPlanOption());

/** `continue` is no name that JavaScript lets a variable have. */
export const continueRun = addBudgetOptions(base)
  .option("--rebase", "bring in what the base branch is by now, as a merge; the agent resolves what conflicts")
  .option("--allow-pull-request", "let agents go on with its pull request again, where they were stopped (pr stop)")
  .option("-d, --detach", "do not wait for the end")
  .option("-v, --verbose", "show thoughts and the agent's stray output too")
  .addOption(jsonOption())
  .addOption(ndjsonOption())
  .action(
    async (
      name: string,
      text: string | undefined,
      options: HandOverOptions & BudgetOptions & { plan?: boolean; rebase?: true; allowPullRequest?: boolean },
    ) => {
      const { rebase } = options;
      if (text === undefined && rebase !== true)
        throw new CliError("Say what to do next.", { advice: 'Give it as an argument; "-" reads it from stdin.', exitCode: EXIT.usage });
      const prompt = text === undefined ? null : await taskOf(text);
      const client = connect();
      const { id, lastSeq } = await client.runs.get(await findRunId(client, name));
      const turn = {
        ...(options.plan === undefined ? {} : { plan: options.plan }),
        ...(options.allowPullRequest === undefined ? {} : { allowPullRequest: options.allowPullRequest }),
        ...budgetRequest(options),
      };
      const continued =
        prompt === null
          ? await client.runs.continue(id, null, { ...turn, rebase: true })
          : await client.runs.continue(id, prompt, { ...turn, ...(rebase === true && { rebase }) });
      await handOver(client, continued, { ...options, after: lastSeq });
    },
  );
