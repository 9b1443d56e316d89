import type { Plan } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, print, printable, printJson, say } from "./output.ts";
import { describePlan, shortHash } from "./render-plan.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { proseWidthOf } from "./screen.ts";
import { wrap } from "./text.ts";

export const plan = command("plan", {
  summary: "Read a run's plan",
  group: GROUP.runs,
  more: "The text goes to stdout as it is; whose plan it is and how it stands goes to stderr. The newest version, unless --all asks for every one.",
  examples: ["runyard plan last", "runyard plan last > plan.md", "runyard plan 62g7a1 --all", "runyard plan last --json | jq -r .hash"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("--all", "every version of every turn, the oldest first")
  .addOption(jsonOption())
  .action(async (name: string, options: { all?: boolean; json?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    const list = await client.runs.plan(id);
    const newest = list.data.at(-1);
    if (options.all === true && options.json === true) return printJson(list);
    if (newest === undefined) throw new CliError(`${id} has made no plan.`, { exitCode: EXIT.refused });
    if (options.json === true) return printJson(newest);
    const shown = options.all === true ? list.data : [newest];
    shown.forEach((one, index) => showPlan(one, index > 0));
  });

function showPlan(one: Plan, isFurther: boolean): void {
  const paint = paintFor(process.stderr);
  if (isFurther) print("");
  say(paint("dim", `${describePlan(one)} · ${shortHash(one.hash)}`));
  if (one.note !== null) say(paint("dim", wrap(printable(one.note), { width: proseWidthOf(process.stderr), indent: "  " })));
  // What is to be read is broken to fit; what is to be kept stays as it is.
  if (process.stdout.isTTY) print(wrap(printable(one.text), { width: proseWidthOf(process.stdout), indent: "" }));
  else print(one.text);
}
