import { Command, InvalidArgumentError, Option } from "commander";
import { wrap } from "./text.ts";

/** Options that several commands share, so that they mean and read the same everywhere. */
export const jsonOption = (): Option => new Option("--json", "print one JSON document on stdout and nothing else there");
export const ndjsonOption = (what = "events"): Option => new Option("--ndjson", `print ${what} on stdout, one JSON object a line`);

/** Headings of the list of commands. */
export const GROUP = { runs: "Runs:", settings: "Settings:", server: "This machine:" } as const;

export interface CommandText {
  readonly summary: string;
  readonly group: (typeof GROUP)[keyof typeof GROUP];
  /** What else there is to know, in plain sentences. */
  readonly more?: string;
  /** Command lines, each as one would type it. */
  readonly examples: readonly string[];
}

export function command(name: string, text: CommandText): Command {
  return new Command(name)
    .description(text.summary)
    .helpGroup(text.group)
    .addHelpText("after", () => {
      const examples = `Examples:\n${text.examples.map((line) => `  $ ${line}`).join("\n")}`;
      return `\n${text.more === undefined ? "" : `${wrap(text.more, { width: helpWidth(), indent: "" })}\n\n`}${examples}`;
    });
}

/** Columns for help, which has always an end. */
export function helpWidth(): number {
  return Math.min(100, process.stdout.columns || Number(process.env["COLUMNS"]) || 80);
}

/** For options that take an event's number. */
export function parseSeq(value: string): number {
  const seq = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(seq)) throw new InvalidArgumentError("It must be an event's seq: 0 or more.");
  return seq;
}
