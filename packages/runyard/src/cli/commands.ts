import { Command, Option } from "commander";

/** Options that several commands share, so that they mean and read the same everywhere. */
export const jsonOption = (): Option => new Option("--json", "print one JSON document on stdout and nothing else there");
export const ndjsonOption = (): Option => new Option("--ndjson", "print events on stdout, one JSON object a line");

export function command(name: string, summary: string): Command {
  return new Command(name).description(summary).showHelpAfterError(`(see: runyard ${name.split(" ")[0]} --help)`);
}
