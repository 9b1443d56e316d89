import { RUN_STATUSES, type RunStatus } from "@runyard/sdk/contract";
import { Option } from "commander";
import { command, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { oneLine, paintFor, printJson, say } from "./output.ts";
import { paintStatus } from "./render-run.ts";

export const runs = command("runs", "List runs, newest first")
  .option("-n, --limit <number>", "how many", "20")
  .addOption(new Option("--status <status>", "only runs in this status").choices(RUN_STATUSES))
  .addOption(jsonOption())
  .action(async (options: { limit: string; status?: RunStatus; json?: boolean }) => {
    const page = await connect().runs.list({
      limit: Number(options.limit),
      ...(options.status === undefined ? {} : { status: options.status }),
    });
    if (options.json === true) {
      printJson(page);
      return;
    }
    if (page.data.length === 0) {
      say('No runs yet. Start one with: runyard run "say what this project does" --repo .');
      return;
    }
    const paint = paintFor(process.stdout);
    const width = Math.max(40, (process.stdout.columns ?? 120) - 1);
    for (const run of page.data) {
      const status = paintStatus(run, paint) + " ".repeat(Math.max(0, 15 - run.status.length));
      const head = `${run.id}  ${run.createdAt.slice(0, 16).replace("T", " ")}  `;
      const rest = Math.max(10, width - head.length - 15);
      process.stdout.write(`${head}${status}${oneLine(`${run.simulated ? "(simulated) " : ""}${run.task}`, rest)}\n`);
    }
    if (page.has_more) say(`More: runyard runs --limit ${Math.min(100, page.data.length * 2)}`);
  });
