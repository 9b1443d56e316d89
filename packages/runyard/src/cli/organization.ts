import { money } from "@runyard/sdk/contract";
import { parseDollars } from "./budget-options.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor, print, printable, printJson } from "./output.ts";

export const organization = command("organization", {
  summary: "See or change what holds for the organization's runs",
  group: GROUP.settings,
  more: "A run that says --plan or --no-plan itself, and a repository that has a setting of its own, come first. What is changed holds for runs that are created from then on.",
  examples: ["runyard organization", "runyard organization --plan", "runyard organization --daily-cap 20"],
})
  .option("--plan", "runs make a plan first")
  .option("--no-plan", "they do not")
  .option("--daily-cap <dollars>", "what all of them together may spend in a day (UTC), in US dollars", parseDollars)
  .option("--no-daily-cap", "what they want")
  .addOption(jsonOption())
  .action(async ({ plan, dailyCap, json }: { plan?: boolean; dailyCap?: number | false; json?: boolean }) => {
    const { organization: settings } = connect();
    const change = {
      ...(plan === undefined ? {} : { planFirst: plan }),
      ...(dailyCap === undefined ? {} : { dailyCapUsd: dailyCap === false ? null : dailyCap }),
    };
    const found = Object.keys(change).length === 0 ? await settings.get() : await settings.update(change);
    if (json === true) printJson(found);
    else {
      const paint = paintFor(process.stdout);
      print(`${paint("bold", found.id)}  ${printable(found.name)}`);
      print(
        `  ${paint("dim", "plan   ")} ${found.planFirst ? "runs make one first" : "runs make none"}, unless they or their repository say otherwise`,
      );
      const cap = found.dailyCapUsd === null ? "no daily cap" : `of ${money(found.dailyCapUsd)} a day (UTC)`;
      print(`  ${paint("dim", "spent  ")} ${money(found.spentTodayUsd)} today, ${cap}`);
    }
  });
