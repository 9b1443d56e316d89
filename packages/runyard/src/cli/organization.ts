import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor, print, printable, printJson } from "./output.ts";

export const organization = command("organization", {
  summary: "See or change what holds for the organization's runs",
  group: GROUP.settings,
  more: "A run that says --plan or --no-plan itself, and a repository that has a setting of its own, come first. What is changed holds for runs that are created from then on.",
  examples: ["runyard organization", "runyard organization --plan"],
})
  .option("--plan", "runs make a plan first")
  .option("--no-plan", "they do not")
  .addOption(jsonOption())
  .action(async (options: { plan?: boolean; json?: boolean }) => {
    const { organization: settings } = connect();
    const found = options.plan === undefined ? await settings.get() : await settings.update({ planFirst: options.plan });
    if (options.json === true) printJson(found);
    else {
      const paint = paintFor(process.stdout);
      print(`${paint("bold", found.id)}  ${printable(found.name)}`);
      print(
        `  ${paint("dim", "plan   ")} ${found.planFirst ? "runs make one first" : "runs make none"}, unless they or their repository say otherwise`,
      );
    }
  });
