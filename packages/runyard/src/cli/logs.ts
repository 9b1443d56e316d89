import { type LogEntry, parseEvent, toLogEntry } from "@runyard/sdk/contract";
import { command, GROUP, ndjsonOption, parseSeq } from "./commands.ts";
import { connect } from "./connection.ts";
import { leaveOnInterrupt } from "./interrupt.ts";
import { noteOpenPlan } from "./open-plan.ts";
import { jsonText, type Paint, paintFor, plural, print, printable } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { proseWidthOf } from "./screen.ts";
import { wrapBehind } from "./text.ts";

/** Lines that are shown of what a tool put out. */
const TOOL_LINES = 8;

export const logs = command("logs", {
  summary: "Read what was said and done in a run",
  group: GROUP.runs,
  more: "Ends with what there is now; --follow stays until the run's turn has ended.",
  examples: ["runyard logs last", "runyard logs last --follow", "runyard logs 62g7a1 --ndjson | jq -r .message"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("-f, --follow", "stay until the run's turn has ended")
  .option("--after <seq>", "only entries behind this event", parseSeq, 0)
  .option("-v, --verbose", "show thoughts, stray output and all that tools put out")
  .addOption(ndjsonOption("entries"))
  .action(async (name: string, options: { follow?: boolean; after: number; verbose?: boolean; ndjson?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    const paint = paintFor(process.stdout);
    const width = proseWidthOf(process.stdout);
    await leaveOnInterrupt(async (signal) => {
      const show = (entry: LogEntry): void => {
        if (options.ndjson === true) print(jsonText(entry));
        else if (options.verbose === true) print(renderEntry(entry, paint, width));
        else if (entry.level !== "debug") print(renderEntry(withoutTail(entry), paint, width));
      };
      if (options.follow !== true) {
        for await (const entry of client.runs.logs(id, { after: options.after, signal })) show(entry);
        return;
      }
      for await (const event of client.runs.events(id, { after: options.after, signal })) {
        const known = parseEvent(event);
        const entry = known === undefined ? null : toLogEntry(known);
        if (entry !== null) show(entry);
        if (known !== undefined && options.ndjson !== true) await noteOpenPlan(client, known, { paint, width, note: print });
      }
    });
  });

/** What a tool put out can be long. */
function withoutTail(entry: LogEntry): LogEntry {
  const lines = entry.message.trimEnd().split("\n");
  if (entry.source !== "tool" || lines.length <= TOOL_LINES + 1) return entry;
  const rest = lines.length - TOOL_LINES;
  return { ...entry, message: [...lines.slice(0, TOOL_LINES), `… ${plural(rest, "more line")} (--verbose shows them)`].join("\n") };
}

const LEVEL_STYLE = { debug: "dim", info: null, warning: "yellow", error: "red" } as const;

function renderEntry(entry: LogEntry, paint: Paint, width: number): string {
  const style = LEVEL_STYLE[entry.level];
  const source = entry.source.padEnd(7);
  const heading = `${paint("dim", clock(entry.at))} ${style === null ? paint("cyan", source) : paint(style, source)} `;
  return wrapBehind(heading, printable(entry.message).trimEnd(), width);
}

/** The time of day here. */
function clock(at: string): string {
  const time = new Date(at);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}
