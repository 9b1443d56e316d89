import { command, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { oneLine, paintFor, printJson } from "./output.ts";
import { describeSandbox } from "./render-event.ts";
import { paintStatus, renderEnd, renderHead } from "./render-run.ts";

export const show = command("show", "Show one run")
  .argument("<run>", "the run's id")
  .addOption(jsonOption())
  .action(async (id: string, options: { json?: boolean }) => {
    const run = await connect().runs.get(id);
    if (options.json === true) {
      printJson(run);
      return;
    }
    const paint = paintFor(process.stdout);
    const lines = [renderHead(run, paint)];
    if (run.sandbox !== null) lines.push(paint("dim", `  sandbox ${describeSandbox(run.sandbox)}`));
    if (run.finishedAt === null) {
      const percentage = run.progress.percentage === null ? "" : `, ${run.progress.percentage} % of its plan`;
      lines.push(`${paintStatus(run, paint)}, ${run.progress.currentStep}${percentage}`);
      for (const request of run.waitingFor) lines.push(paint("yellow", `  ? ${request.kind} ${request.id}: ${oneLine(request.title)}`));
    } else lines.push(renderEnd(run, paint));
    process.stdout.write(`${lines.join("\n")}\n`);
  });
