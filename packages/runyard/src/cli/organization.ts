import { money, type Organization } from "@runyard/sdk/contract";
import { approvalOption } from "./approval-option.ts";
import { addOrganizationBounds, boundsRequest, type OrganizationBounds } from "./bounds-options.ts";
import { parseDollars } from "./budget-options.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { groupOptions } from "./option-groups.ts";
import { type Paint, paintFor, print, printable, printJson } from "./output.ts";
import {
  addPublishDefaultsOptions,
  PUBLISH_DEFAULTS_OPTIONS,
  type PublishDefaultsOptions,
  publishDefaultsRequest,
  renderPublishDefaults,
} from "./publish-defaults-options.ts";
import {
  addPublishingOptions,
  PUBLISHING_OPTIONS,
  type PublishingOptions,
  publishingRequest,
  renderPublishing,
} from "./publishing-options.ts";
import { readText } from "./read-text.ts";
import { renderVariables } from "./render-variables.ts";
import { proseWidthOf } from "./screen.ts";
import { wrapBehind } from "./text.ts";
import { addNoVariableOptions, addVariableOptions, type VariableOptions, variableRequest } from "./variable-options.ts";

interface OrganizationOptions extends VariableOptions, OrganizationBounds, PublishingOptions, PublishDefaultsOptions {
  readonly plan?: boolean;
  /** False: none any more, here and below. */
  readonly dailyCap?: number | false;
  readonly approvalAbove?: number | false;
  /** A file. */
  readonly signingKey?: string | false;
  readonly json?: boolean;
}

const FLOOR_WORDS = {
  default: "sandboxes hold files and network, unless the driver process is chosen for a run",
  none: "none: sandboxes may be of any kind",
  sandbox: "sandbox: files and network are held, or a run is refused",
  strict: "strict: files, network, processes and system calls are held, and limits, or a run is refused",
} as const;

export const organization = command("organization", {
  summary: "See or change what holds for the organization's runs",
  group: GROUP.settings,
  more: "A run that says --plan or --no-plan itself, and a repository that has a setting of its own, come first; of limits for --approval-above the lowest counts. What is changed holds for runs that are created from then on. --env, --secret, --egress, --egress-allowed and --protect replace all that there was of their kind, and so do --draft, --label and --reviewer, together.",
  examples: [
    "runyard organization",
    "runyard organization --plan",
    "runyard organization --daily-cap 20",
    "runyard organization --approval-above 5",
    "runyard organization --env NODE_ENV=test",
    "runyard organization --protect '**/package-lock.json' --protect 'refuse:secrets/**'",
    "runyard organization --publish branch",
    "runyard organization --isolation-floor strict --egress-allowed npm,pypi,*.example.com",
  ],
})
  .option("--plan", "runs make a plan first")
  .option("--no-plan", "they do not")
  .option("--daily-cap <dollars>", "what all of them together may spend in a day (UTC), in US dollars", parseDollars)
  .option("--no-daily-cap", "what they want")
  .addOption(approvalOption("let every run wait for"))
  .option("--no-approval-above", "let none wait, unless its repository, its agent or the run says so");
addOrganizationBounds(organization);
addPublishingOptions(organization, "runs")
  .option("--signing-key <file>", 'a private key that signs commits of runs, Ed25519 as ssh-keygen makes it; "-" reads it from stdin')
  .option("--no-signing-key", "they are not signed");
addPublishDefaultsOptions(organization, "runs", "as where nobody says anything");
addNoVariableOptions(addVariableOptions(organization, "each run")).addOption(jsonOption());
groupOptions(organization, {
  Sandbox: ["isolation-floor", "egress", "egress-allowed", "env", "secret"],
  Plan: ["plan"],
  Cost: ["daily-cap", "approval-above"],
  Result: PUBLISH_DEFAULTS_OPTIONS,
  "Commits and files": [...PUBLISHING_OPTIONS, "signing-key"],
});
organization.action(async ({ plan, dailyCap, approvalAbove, signingKey, json, ...others }: OrganizationOptions) => {
  const { organization: settings } = connect();
  const change = {
    ...(plan === undefined ? {} : { planFirst: plan }),
    ...(dailyCap === undefined ? {} : { dailyCapUsd: dailyCap === false ? null : dailyCap }),
    ...(approvalAbove === undefined ? {} : { approvalAboveUsd: approvalAbove === false ? null : approvalAbove }),
    ...(signingKey === undefined ? {} : { signingKey: signingKey === false ? null : await readText(signingKey) }),
    ...boundsRequest(others),
    ...publishingRequest(others),
    ...publishDefaultsRequest(others),
    ...variableRequest(others),
  };
  const found = Object.keys(change).length === 0 ? await settings.get() : await settings.update(change);
  if (json === true) printJson(found);
  else for (const line of renderOrganization(found, paintFor(process.stdout))) print(line);
});

function renderOrganization(found: Organization, paint: Paint): string[] {
  const row = (name: string, text: string): string =>
    wrapBehind(`  ${paint("dim", name.padEnd(7))} `, printable(text), proseWidthOf(process.stdout));
  const { dailyCapUsd: cap, approvalAboveUsd: above, signingKey } = found;
  return [
    `${paint("bold", found.id)}  ${printable(found.name)}`,
    row("plan", `${found.planFirst ? "runs make one first" : "runs make none"}, unless they or their repository say otherwise`),
    row("approve", above === null ? "runs begin by themselves, whatever they may cost" : `runs above ${money(above)} wait for a person`),
    row("spent", `${money(found.spentTodayUsd)} today, ${cap === null ? "no daily cap" : `of ${money(cap)} a day (UTC)`}`),
    row("floor", FLOOR_WORDS[found.isolationFloor ?? "default"]),
    ...(found.egress.length === 0 ? [] : [row("egress", `${found.egress.join(", ")}, for all runs`)]),
    ...(found.egressAllowed === null ? [] : [row("allowed", `${found.egressAllowed.join(", ") || "no host"}, and no run more than that`)]),
    ...(signingKey === null
      ? []
      : [row("signed", `${signingKey.publicKey}${signingKey.usable ? "" : ", which this server cannot read: store it again"}`)]),
    ...renderPublishing(found, row),
    ...renderPublishDefaults(found, row),
    ...renderVariables(found, row),
  ];
}
