import { Command } from "commander";
import { expect, test } from "vitest";
import { groupOptions } from "./option-groups.ts";
import { organization } from "./organization.ts";
import { repositories } from "./repositories.ts";
import { run } from "./run.ts";

test("options stand under their headings, with the ones that take them back", () => {
  const made = groupOptions(new Command("make").option("--fast", "x").option("--no-fast", "y").option("--json", "z"), { Speed: ["fast"] });
  const help = made.helpInformation();
  expect(help.indexOf("Speed:")).toBeGreaterThan(-1);
  expect(help.indexOf("--no-fast")).toBeLessThan(help.indexOf("Options:"));
  expect(help.indexOf("--json")).toBeGreaterThan(help.indexOf("Options:"));
});

test("a name that is no option is said", () => {
  expect(() => groupOptions(new Command("make").option("--fast", "x"), { Speed: ["slow"] })).toThrow("make has no option --slow");
});

test.each([
  [run, ["--idempotency-key", "--detach", "--verbose", "--json", "--ndjson"]],
  [repositories, ["--json"]],
  [organization, ["--json"]],
] as const)("each option of a command with many but those of every command has a heading (%#)", (command, expected) => {
  const bare = command.options.filter(({ helpGroupHeading }) => helpGroupHeading === undefined).map(({ long }) => long);
  expect(bare).toEqual(expected);
});
