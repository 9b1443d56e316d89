import { RunyardApiError, RunyardConnectionError } from "@runyard/sdk";
import { CommanderError } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, printable, say } from "./output.ts";
import { proseWidthOf } from "./screen.ts";
import { explainSystemError } from "./system-error.ts";
import { wrap } from "./text.ts";

/** What to do about an error of the API, where its own words do not say. */
const ADVICE: Readonly<Record<string, string>> = {
  unauthorized: "Set RUNYARD_TOKEN to a token of that server; `runyard token` says where this machine's is.",
  forbidden: "Use a token that has the right to do this.",
  run_not_found: "`runyard runs` lists the runs.",
  request_not_found: "`runyard show <run>` lists what is open.",
  already_answered: "`runyard show <run>` says how it goes on.",
  plan_not_open: "`runyard show <run>` says how its plan stands.",
  stale_plan: "`runyard plan <run>` shows it.",
  exchange_not_found: "`runyard exchanges <run>` lists them.",
  snapshot_not_found: "`runyard snapshots` lists them.",
  no_pull_request: "`runyard show <run>` says what became of its result.",
  no_result: "`runyard show <run>` says how it stands.",
  approval_not_open: "`runyard show <run>` says what it waits for.",
  recording_not_here: "`runyard status` lists the runners.",
  repository_not_found: "`runyard repositories` lists those that are known, `runyard show <run>` those of a run.",
  run_ended: "`runyard show <run>` says how it ended.",
  agent_not_found: "`runyard agents` lists them.",
  agent_exists: "`runyard agents` lists them.",
  unknown_agent: "`runyard agents` says which agents are there.",
  sandbox_not_available: "`runyard doctor` says what is missing.",
  rate_limited: "`runyard runs` lists what was created.",
  internal: "Try again. The server's log in RUNYARD_HOME/logs has more under the request's id.",
  unavailable: "Try again in a moment.",
};

/** Says what went wrong, and what to do, in plain words; returns the exit code. */
export function report(error: unknown): number {
  // Help and usage errors have been written by commander.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof CliError) return complain(error.message, error.advice, error.exitCode);
  if (RunyardApiError.is(error)) return reportApiError(error);
  if (RunyardConnectionError.is(error)) return complain(...splitAdvice(error.message), EXIT.failed);
  if (process.env["RUNYARD_DEBUG"] && error instanceof Error) say(error.stack);
  const system = explainSystemError(error);
  if (system !== null) return complain(system.message, system.advice, EXIT.failed);
  return complain(...splitAdvice(error instanceof Error ? error.message : String(error)), EXIT.failed);
}

function complain(message: string, advice: string | null, exitCode: number): number {
  const width = proseWidthOf(process.stderr);
  // It may name files of an agent, or hold words of a server.
  say(
    `${paintFor(process.stderr)(["bold", "red"], "error:")} ${wrap(printable(message), { width: width - "error: ".length, indent: "" })}`,
  );
  if (advice !== null) say(wrap(printable(advice), { width, indent: "  " }));
  return exitCode;
}

function reportApiError(error: RunyardApiError): number {
  const fields = error.errors.filter((field) => !error.message.includes(field.message)).map((field) => `${field.path}: ${field.message}`);
  const known = error.code === null ? undefined : ADVICE[error.code];
  const advice = known === undefined || error.message.includes("`runyard") ? [] : [known];
  complain(error.message, [...fields, ...advice].join("\n") || null, EXIT.failed);
  if (error.status >= 500 && error.requestId !== null) say(`  The request's id is ${error.requestId}.`);
  if (error.status === 401 || error.status === 403) return EXIT.notAuthorised;
  // Without a code it is no answer of Runyard, so nothing was refused.
  return error.status < 500 && error.code !== null ? EXIT.refused : EXIT.failed;
}

/** Sentences from elsewhere: the first says what happened, the others what to do. */
function splitAdvice(message: string): [string, string | null] {
  const end = /[.?!](?= [A-Z`])/.exec(message);
  if (end === null || message.includes("\n")) return [message, null];
  return [message.slice(0, end.index + 1), message.slice(end.index + 2)];
}
