import { RunyardApiError, RunyardConnectionError } from "@runyard/sdk";
import { Command, CommanderError } from "commander";
import { answer } from "./answer.ts";
import { cancel } from "./cancel.ts";
import { events } from "./events.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, say } from "./output.ts";
import { run } from "./run.ts";
import { runs } from "./runs.ts";
import { show } from "./show.ts";
import { packageVersion } from "./version.ts";

const program = new Command("runyard")
  .description("Runs coding agents on your own machines.")
  .version(packageVersion)
  .addHelpText(
    "after",
    `\nExit codes: 0 ok, 1 failed, 2 usage, 3 refused or cancelled, 4 not authorised, 130 interrupted.\nElsewhere: RUNYARD_URL and RUNYARD_TOKEN point every command to another machine's Runyard.`,
  )
  .configureHelp({ showGlobalOptions: false })
  .exitOverride();

for (const one of [run, runs, show, events, answer, cancel]) program.addCommand(one.copyInheritedSettings(program));

// The server's rooms load slowly and only these three commands need them.
const lazy = {
  up: () => import("./up.ts").then((module) => module.up),
  down: () => import("./down.ts").then((module) => module.down),
  demo: () => import("./demo.ts").then((module) => module.demo),
};
const asked = process.argv[2] ?? "";
const summaries = {
  up: "Start Runyard on this machine and serve until Ctrl-C",
  down: "End everything of Runyard on this machine",
  demo: "Show Runyard at work on a sample repository, with a scripted model",
};
for (const name of Object.keys(lazy) as (keyof typeof lazy)[]) {
  program.addCommand(asked === name ? (await lazy[name]()).copyInheritedSettings(program) : new Command(name).description(summaries[name]));
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Says what went wrong in plain words and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const paint = paintFor(process.stderr);
  const complain = (message: string): void => say(`${paint(["bold", "red"], "error:")} ${message}`);
  if (error instanceof CliError) {
    complain(error.message);
    return error.exitCode;
  }
  if (error instanceof RunyardApiError) {
    complain(error.message);
    for (const field of error.errors ?? []) say(`  ${field.path}: ${field.message}`);
    if (error.status === 401 || error.status === 403) return EXIT.notAuthorised;
    return error.status < 500 ? EXIT.refused : EXIT.failed;
  }
  if (error instanceof RunyardConnectionError) {
    complain(error.message);
    return EXIT.failed;
  }
  complain(error instanceof Error ? error.message : String(error));
  if (process.env["RUNYARD_DEBUG"] && error instanceof Error) say(error.stack);
  return EXIT.failed;
}
