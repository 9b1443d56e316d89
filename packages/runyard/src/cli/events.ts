import { parseEvent } from "@runyard/sdk/contract";
import { command, GROUP, ndjsonOption, parseSeq } from "./commands.ts";
import { connect } from "./connection.ts";
import { leaveOnInterrupt } from "./interrupt.ts";
import { openLiveLog } from "./live-log.ts";
import { noteOpenPlan } from "./open-plan.ts";
import { jsonText, paintFor } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { proseWidthOf } from "./screen.ts";

export const events = command("events", {
  summary: "Watch a run live, event by event",
  group: GROUP.runs,
  more: "Ctrl-C stops watching; the run goes on. Every event has a number (seq) without gaps, so that --after continues exactly.",
  examples: ["runyard events last", "runyard events 62g7a1 --verbose", "runyard events last --ndjson --after 40 | jq .type"],
})
  .argument("<run>", RUN_ARGUMENT)
  .option("--after <seq>", "only events behind this one", parseSeq, 0)
  .option("--follow", "stay for later turns of the run too")
  .option("-v, --verbose", "show thoughts and the agent's stray output too")
  .addOption(ndjsonOption())
  .action(async (name: string, options: { after: number; follow?: boolean; verbose?: boolean; ndjson?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    const run = await client.runs.get(id);
    const log = options.ndjson === true ? null : openLiveLog(process.stdout, run, { verbose: options.verbose ?? false });
    await leaveOnInterrupt(async (signal) => {
      try {
        for await (const event of client.runs.events(id, { after: options.after, follow: options.follow ?? false, signal })) {
          const known = parseEvent(event);
          if (log === null) process.stdout.write(`${jsonText(event)}\n`);
          else if (known !== undefined) {
            log.show(known);
            await noteOpenPlan(client, known, { paint: paintFor(process.stdout), width: proseWidthOf(process.stdout), note: log.note });
          }
        }
      } finally {
        log?.close();
      }
    });
  });
