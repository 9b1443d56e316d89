import type { Plan, Run } from "@runyard/sdk/contract";
import { Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { findPlan, goesOn, versionOption } from "./decide-plan.ts";
import { editText } from "./edit-text.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { printJson, say } from "./output.ts";
import { readText } from "./read-text.ts";
import { shortHash } from "./render-plan.ts";
import { RUN_ARGUMENT } from "./run-reference.ts";

interface ConfirmOptions {
  readonly version?: number;
  readonly edit?: boolean;
  readonly file?: string;
  readonly json?: boolean;
}

export const confirm = command("confirm", {
  summary: "Approve a run's plan, as it is or in your own words",
  group: GROUP.runs,
  more: "The agent then carries it out. Without --version the newest plan is meant, as it stands when you call; a newer one in the meantime is refused with exit code 3, as is a plan that was decided about before.",
  examples: [
    "runyard confirm last",
    "runyard confirm 62g7a1 --version 2",
    "runyard confirm last --edit",
    "runyard plan last | sed s/npm/pnpm/ | runyard confirm last --file -",
  ],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(versionOption())
  .addOption(new Option("--edit", "change the plan in $VISUAL or $EDITOR first; left as it is, it is approved as it is").conflicts("file"))
  .option("--file <file>", 'the plan in your words; "-" reads it from stdin')
  .addOption(jsonOption())
  .action(async (name: string, options: ConfirmOptions) => {
    // Before the plan is read: it takes as long as somebody takes to write it.
    const given = options.file === undefined ? undefined : notEmpty(await readText(options.file));
    const client = connect();
    const { runId, plan } = await findPlan(client, name, options.version);
    const approve = (text: string | undefined): Promise<Run> =>
      client.runs.confirmPlan(runId, { version: plan.version, ...(text === undefined || isSame(text, plan) ? {} : { text }) });
    const run = options.edit === true ? await approveEdited(plan, approve) : await approve(given);
    if (options.json === true) printJson(run);
    else say(`Confirmed ${describeApproved(run, plan)}. ${goesOn(run)}`);
  });

async function approveEdited(plan: Plan, approve: (text: string) => Promise<Run>): Promise<Run> {
  const edited = await editText(plan.text, `plan-${plan.version}.md`);
  let isKept = false;
  try {
    return await approve(notEmpty(edited.text));
  } catch (error) {
    isKept = !(error instanceof CliError);
    if (isKept) say(`Your text is kept in ${edited.file}`);
    throw error;
  } finally {
    if (!isKept) edited.discard();
  }
}

function isSame(text: string, plan: Plan): boolean {
  return text.trim() === plan.text.trim();
}

function notEmpty(text: string): string {
  if (text.trim() !== "") return text;
  throw new CliError("The plan is empty, so nothing was confirmed.", {
    advice: "`runyard reject <run>` turns a plan down.",
    exitCode: EXIT.usage,
  });
}

/** Which version it was: what was read, or what stands in its place. */
function describeApproved(run: Run, read: Plan): string {
  const approved = run.plan ?? read;
  const instead = approved.version === read.version ? "" : `, in your words, in place of plan ${read.version}`;
  return `plan ${approved.version} of ${run.id}${instead} (${shortHash(approved.hash)})`;
}
