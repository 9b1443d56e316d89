import { parseEvent } from "@runyard/sdk/contract";
import { InvalidArgumentError } from "commander";
import { command, ndjsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor } from "./output.ts";
import { eventRenderer } from "./render-event.ts";

export const events = command("events", "Show a run's log, live until its turn has ended")
  .argument("<run>", "the run's id")
  .option("--after <seq>", "only events behind this one", parseSeq, 0)
  .option("--follow", "stay for later turns of the run too")
  .option("-v, --verbose", "show thoughts and the agent's stray output too")
  .addOption(ndjsonOption())
  .action(async (id: string, options: { after: number; follow?: boolean; verbose?: boolean; ndjson?: boolean }) => {
    const paint = paintFor(process.stdout);
    const renderer = eventRenderer(paint, { verbose: options.verbose ?? false });
    for await (const event of connect().runs.events(id, { after: options.after, follow: options.follow ?? false })) {
      if (options.ndjson === true) {
        process.stdout.write(`${JSON.stringify(event)}\n`);
        continue;
      }
      const known = parseEvent(event);
      if (known !== undefined) process.stdout.write(renderer.render(known));
    }
  });

function parseSeq(value: string): number {
  const seq = Number(value);
  if (!Number.isSafeInteger(seq) || seq < 0) throw new InvalidArgumentError("It must be an event's seq: 0 or more.");
  return seq;
}
