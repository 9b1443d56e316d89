import type { RunyardClient } from "@runyard/sdk";
import type { Snapshot } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { bytes, oneLine, type Paint, paintFor, plural, print, printable, printJson, say } from "./output.ts";
import { proseWidthOf } from "./screen.ts";
import { wrapBehind } from "./text.ts";

export const snapshots = command("snapshots", {
  summary: "List what set-up made and later runs begin with",
  group: GROUP.settings,
  more: "A run with --setup and --setup-cache-key keeps what its commands made. Each snapshot lies on the disk of one runner, and goes when nobody has used it for a day (up --keep-snapshots).",
  examples: ["runyard snapshots", "runyard snapshots show snap_01k…", "runyard snapshots rm snap_01k…"],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const data = await allOf(connect());
    if (options.json === true) return printJson({ data });
    if (data.length === 0)
      return say('There is no snapshot. Make one with: runyard run "<task>" --setup "npm ci" --setup-cache-key node-modules-v1');
    const paint = paintFor(process.stdout);
    for (const one of data)
      print(
        `${one.id}  ${paint("bold", printable(one.cacheKey))}  ${bytes(one.bytes)}  ${plural(one.hits, "hit")}  ${printable(one.repositoryUrl)}`,
      );
  });

const show = command("show", {
  summary: "Show what a snapshot is of",
  group: GROUP.settings,
  examples: ["runyard snapshots show snap_01k…", "runyard snapshots show snap_01k… --json"],
})
  .argument("<id>", "its id")
  .addOption(jsonOption())
  .action(async (id: string, options: { json?: boolean }) => {
    const found = await connect().snapshots.get(id);
    if (options.json === true) printJson(found);
    else print(renderSnapshot(found, paintFor(process.stdout), proseWidthOf(process.stdout)));
  });

const remove = command("rm", {
  summary: "Delete a snapshot",
  group: GROUP.settings,
  more: "The next run of its key runs its set-up, and makes a new one. Runs that have begun with it have a copy.",
  examples: ["runyard snapshots rm snap_01k…"],
})
  .argument("<id>", "its id")
  .addOption(jsonOption())
  .action(async (id: string, options: { json?: boolean }) => {
    const client = connect();
    const found = await client.snapshots.get(id);
    await client.snapshots.delete(id);
    if (options.json === true) printJson(found);
    else say(`Deleted ${found.id} (${printable(found.cacheKey)}, ${bytes(found.bytes)}).`);
  });

for (const one of [show, remove]) snapshots.addCommand(one);

async function allOf(client: RunyardClient): Promise<Snapshot[]> {
  const data: Snapshot[] = [];
  for await (const one of client.snapshots.list({ limit: 100 })) data.push(one);
  return data;
}

function renderSnapshot(one: Snapshot, paint: Paint, width: number): string {
  const row = (name: string, text: string): string =>
    wrapBehind(`  ${paint("dim", name.padEnd(9))} `, oneLine(printable(text), 400), width);
  return [
    `${paint("bold", one.id)}  ${printable(one.cacheKey)}`,
    row("of", one.repositoryUrl),
    ...one.commands.map((text) => row("command", text)),
    row("size", `${bytes(one.bytes)}, ${plural(one.files, "file")}`),
    row("made", `${one.createdAt} by ${one.runId}`),
    row("used", `${plural(one.hits, "hit")}, last at ${one.lastUsedAt}`),
    row("where", `runner ${one.runnerId}, sandbox ${one.sandboxDriver}`),
  ].join("\n");
}
