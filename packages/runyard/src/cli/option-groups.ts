import type { Command } from "commander";

/** Headings of a command's help, and the long names of the options under each; those of no group stand under "Options:". */
export type OptionGroups = Readonly<Record<string, readonly string[]>>;

/** Puts the options of a command with many of them under headings. Throws for a name that it does not have. */
export function groupOptions(command: Command, groups: OptionGroups): Command {
  for (const [heading, names] of Object.entries(groups)) {
    for (const name of names) {
      const options = command.options.filter(({ long }) => long === `--${name}` || long === `--no-${name}`);
      if (options.length === 0) throw new Error(`${command.name()} has no option --${name}`);
      for (const option of options) option.helpGroup(`${heading}:`);
    }
  }
  return command;
}
