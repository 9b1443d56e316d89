import { Command } from "commander";
import { agents } from "./agents.ts";
import { answer } from "./answer.ts";
import { approve } from "./approve.ts";
import { cancel } from "./cancel.ts";
import { GROUP, helpWidth } from "./commands.ts";
import { completion } from "./completion.ts";
import { confirm } from "./confirm.ts";
import { continueRun } from "./continue.ts";
import { credentials } from "./credentials.ts";
import { demo } from "./demo.ts";
import { diff } from "./diff.ts";
import { doctor } from "./doctor.ts";
import { down } from "./down.ts";
import { events } from "./events.ts";
import { exchanges } from "./exchanges.ts";
import { files } from "./files.ts";
import { logs } from "./logs.ts";
import { metrics } from "./metrics.ts";
import { models } from "./models.ts";
import { open } from "./open.ts";
import { organization } from "./organization.ts";
import { paintFor } from "./output.ts";
import { plan } from "./plan.ts";
import { pull } from "./pull.ts";
import { reject } from "./reject.ts";
import { replay } from "./replay.ts";
import { repositories } from "./repositories.ts";
import { revise } from "./revise.ts";
import { run } from "./run.ts";
import { runs } from "./runs.ts";
import { secrets } from "./secrets.ts";
import { shell } from "./shell.ts";
import { show } from "./show.ts";
import { snapshots } from "./snapshots.ts";
import { status } from "./status.ts";
import { wrap } from "./text.ts";
import { token } from "./token.ts";
import { up } from "./up.ts";
import { usage } from "./usage.ts";
import { packageVersion } from "./version.ts";

// What needs the server's rooms loads them when it runs: every other command starts without them.
const commands = [
  run,
  runs,
  show,
  logs,
  events,
  exchanges,
  usage,
  metrics,
  diff,
  files,
  shell,
  pull,
  plan,
  confirm,
  revise,
  approve,
  reject,
  answer,
  continueRun,
  replay,
  cancel,
  agents,
  repositories,
  secrets,
  credentials,
  snapshots,
  organization,
  models,
  up,
  down,
  status,
  open,
  token,
  doctor,
  demo,
];

const MORE = `Begin with \`runyard doctor\`, \`runyard up\` and \`runyard run "<task>"\`. Each command has --help with examples.

A run is named by its id, by a beginning or ending of the id that only it has, or by \`last\`.
Data goes to stdout, everything else to stderr. NO_COLOR takes the colours away.
RUNYARD_URL and RUNYARD_TOKEN point every command to another machine's Runyard.
Exit codes: 0 ok, 1 failed, 2 usage, 3 refused or cancelled, 4 not authorised, 130 interrupted.`;

/** The whole command line, not yet parsed. */
export function createProgram(): Command {
  const program = new Command("runyard")
    .description("Runs coding agents on your own machines.")
    .version(packageVersion)
    .usage("<command> [options]")
    .addHelpText("after", () => `\n${wrap(MORE, { width: helpWidth(), indent: "" })}`)
    .addHelpCommand(new Command("help").argument("[command]").description("show the help of a command").helpGroup(GROUP.server))
    .configureHelp({ showGlobalOptions: false, subcommandTerm: (one) => one.name() })
    .configureOutput({ outputError: (text, write) => write(renderUsageError(text)) })
    .commandsGroup(GROUP.server)
    // What stands behind a command is its own: --version of a plan is not that of the program.
    .enablePositionalOptions()
    .exitOverride();

  for (const one of [...commands, completion(() => program)]) {
    program.addCommand(one.copyInheritedSettings(program).showHelpAfterError(`  See: runyard ${one.name()} --help`));
    for (const below of one.commands)
      below.copyInheritedSettings(one).showHelpAfterError(`  See: runyard ${one.name()} ${below.name()} --help`);
  }
  program.showHelpAfterError("  See: runyard --help");
  return program;
}

/** Commander's own errors in the form of all others. */
function renderUsageError(text: string): string {
  return text
    .replace(/^error: (.)/, (_, first: string) => `${paintFor(process.stderr)(["bold", "red"], "error:")} ${first}`)
    .replace(/\n\((Did you mean .*)\)/, "\n  $1");
}
