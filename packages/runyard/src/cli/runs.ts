import { RUN_STATUSES, type Run, type RunPage, type RunStatus } from "@runyard/sdk/contract";
import { InvalidArgumentError, Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { oneLine, type Paint, paintFor, print, printJson, say } from "./output.ts";
import { placeInLine } from "./queue.ts";
import { paintStatus } from "./render-run.ts";
import { widthOf } from "./screen.ts";
import { cutToWidth } from "./text.ts";

const MOST = 100;
/** Columns for a task when there is no terminal that limits them. */
const TASK_CHARS = 200;

export const runs = command("runs", {
  summary: "List runs, newest first",
  group: GROUP.runs,
  more: "Older runs: --cursor with the `next_cursor` of --json.",
  examples: ["runyard runs", "runyard runs --status running", "runyard runs --limit 100 --json"],
})
  .option("-n, --limit <number>", `how many, at most ${MOST}`, parseLimit, 20)
  .addOption(new Option("--status <status>", "only runs in this status").choices(RUN_STATUSES))
  .option("--cursor <cursor>", "continue where another list ended")
  .addOption(jsonOption())
  .action(async (options: { limit: number; status?: RunStatus; cursor?: string; json?: boolean }) => {
    const page = await connect().runs.list({
      limit: options.limit,
      ...(options.status === undefined ? {} : { status: options.status }),
      ...(options.cursor === undefined ? {} : { cursor: options.cursor }),
    });
    if (options.json === true) printJson(page);
    else showPage(page, options);
  });

function showPage(page: RunPage, options: { readonly limit: number; readonly status?: RunStatus }): void {
  if (page.data.length === 0) {
    if (options.status === undefined) say('No runs yet. Start one with: runyard run "say what this project does"');
    else say(`No run has the status ${options.status}.`);
    return;
  }
  const paint = paintFor(process.stdout);
  const statusWidth = Math.max(...page.data.map((run) => run.status.length));
  for (const run of page.data) print(renderRow(run, paint, statusWidth));
  if (page.has_more) {
    const more = Math.min(MOST, page.data.length * 2);
    say(
      paint(
        "dim",
        more > page.data.length ? `More: runyard runs --limit ${more}` : `More: runyard runs --limit ${more} --cursor ${page.next_cursor}`,
      ),
    );
  }
}

function renderRow(run: Run, paint: Paint, statusWidth: number): string {
  const status = paintStatus(run, paint) + " ".repeat(statusWidth - run.status.length);
  const head = `${run.id}  ${status}  ${paint("dim", age(run.createdAt).padStart(6))}  `;
  const place = run.queuePosition === null ? "" : `(${placeInLine(run.queuePosition)}) `;
  const task = oneLine(`${place}${run.simulated ? "(simulated) " : ""}${run.replayOf === null ? "" : "(replay) "}${run.task}`, TASK_CHARS);
  const taken = run.id.length + statusWidth + 12;
  // What is left of the line, but enough to recognize a task by: a narrow terminal then wraps it.
  return head + cutToWidth(task, Math.max(20, widthOf(process.stdout) - taken));
}

/** 12 s, 5 min, 3 h, 4 d. */
function age(createdAt: string): string {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(createdAt)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

function parseLimit(value: string): number {
  const limit = Number(value);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) throw new InvalidArgumentError(`It must be a number from 1 to ${MOST}.`);
  return limit;
}
