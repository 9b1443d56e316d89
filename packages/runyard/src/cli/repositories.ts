import type { RunyardClient } from "@runyard/sdk";
import { type ChangeRepositoryRequest, money, type Repository, repositoryIdSchema } from "@runyard/sdk/contract";
import { Option } from "commander";
import { approvalOption } from "./approval-option.ts";
import { addEgressOptions, type EgressOptions, egressRequest } from "./bounds-options.ts";
import { addChecksOptions, type ChecksOptions, checksRequest } from "./checks-options.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { groupOptions } from "./option-groups.ts";
import { type Paint, paintFor, print, printable, printJson, say } from "./output.ts";
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
import { addRunDefaultsOptions, renderRunDefaults, type RunDefaultsOptions, runDefaultsRequest } from "./run-defaults-options.ts";
import { proseWidthOf } from "./screen.ts";
import { wrapBehind } from "./text.ts";
import { addNoVariableOptions, addVariableOptions, type VariableOptions, variableRequest } from "./variable-options.ts";
import { renderChecks } from "./render-checks.ts";
import { renderSetup } from "./render-setup.ts";
import { renderVariables } from "./render-variables.ts";
import { repositoryArgument } from "./repository-argument.ts";
import { addSetupOptions, type SetupOptions, setupRequest } from "./setup-options.ts";

interface RepositoryOptions
  extends VariableOptions, EgressOptions, SetupOptions, PublishingOptions, PublishDefaultsOptions, ChecksOptions, RunDefaultsOptions {
  readonly plan?: boolean;
  readonly planDefault?: boolean;
  readonly planningStatement?: string;
  readonly planningStatementFile?: string;
  readonly autoConfirmPlans?: boolean;
  readonly coAuthorDefault?: boolean;
  /** False: none any more. */
  readonly approvalAbove?: number | false;
  readonly json?: boolean;
}

export const repositories = command("repositories", {
  summary: "See or change what holds for a repository's runs",
  group: GROUP.settings,
  more: "Without a repository, lists those that are known. With one it shows its settings; with options it changes them, and makes the repository known if it is not. They hold for runs that are created from then on; what a run says itself comes first, but of limits for --approval-above the lowest counts. --env, --secret, --egress and --protect replace all that there was of their kind, and so do the options of checks, together, those of --verify, and --draft, --label and --reviewer.",
  examples: [
    "runyard repositories",
    "runyard repositories . --plan",
    'runyard repositories ~/src/site --planning-statement "Every plan names the pages that it changes."',
    "runyard repositories ~/src/site --auto-confirm-plans --json",
    "runyard repositories . --egress npm,api.example.com",
    "runyard repositories . --branch next --agent careful --verify 'npm test'",
    "runyard repositories . --env NODE_ENV=test --secret NPM_TOKEN",
    "runyard repositories . --protect 'deploy/**' --commit-author 'Jane Doe <jane@example.com>'",
    "runyard repositories . --publish pull_request --draft --label by-agent",
    "runyard repositories . --setup 'npm ci' --setup-cache-key node-modules-v1",
    "runyard repositories https://github.com/acme/app.git --watch-checks --ignore-check 'deploy / *'",
  ],
})
  .argument("[repository]", "its folder on this machine, its URL, or its id")
  .option("--plan", "its runs make a plan first")
  .option("--no-plan", "they do not")
  .addOption(new Option("--plan-default", "they do as the organization has it").conflicts("plan"))
  .option("--planning-statement <text>", 'what every plan must respect; "" takes it away')
  .addOption(new Option("--planning-statement-file <file>", 'the same from a file; "-" reads it from stdin').conflicts("planningStatement"))
  .option("--auto-confirm-plans", "plans are approved at once, by policy")
  .option("--no-auto-confirm-plans", "they wait for a person")
  .addOption(approvalOption("let each of its runs wait for"))
  .option("--no-approval-above", "the repository has no such limit of its own");
addEgressOptions(repositories, "the sandbox of each of its runs");
addPublishingOptions(repositories, "its runs").addOption(
  new Option("--co-author-default", "they do as the organization has it").conflicts("coAuthor"),
);
addPublishDefaultsOptions(repositories, "its runs", "as the organization has it");
addSetupOptions(addNoVariableOptions(addVariableOptions(repositories, "each of its runs")), "each of its runs", "its runs have no set-up");
addRunDefaultsOptions(addChecksOptions(repositories)).addOption(jsonOption());
groupOptions(repositories, {
  "Branch and agent": ["branch", "agent"],
  Sandbox: ["egress", "env", "secret"],
  "Set-up": ["setup", "setup-cache-key", "setup-timeout"],
  Plan: ["plan", "plan-default", "planning-statement", "planning-statement-file", "auto-confirm-plans"],
  Cost: ["approval-above"],
  Verification: ["verify", "verify-build", "verify-lint"],
  Result: PUBLISH_DEFAULTS_OPTIONS,
  "Commits and files": [...PUBLISHING_OPTIONS, "co-author-default"],
  Checks: ["watch-checks", "check-retries", "check-retries-of", "ignore-check", "check-prompt", "checks-timeout"],
});
repositories.action(async (name: string | undefined, options: RepositoryOptions) => {
  const change = await changeOf(options);
  const hasChange = Object.keys(change).length > 0;
  if (name === undefined && hasChange)
    throw new CliError("These settings belong to a repository.", {
      advice: "Name its folder, for example: runyard repositories . --plan",
      exitCode: EXIT.usage,
    });
  const client = connect();
  if (name === undefined) return listAll(client, options.json === true);
  const found = hasChange ? await changed(client, name, change) : await knownRepository(client, name);
  if (options.json === true) printJson(found);
  else print(renderRepository(found, paintFor(process.stdout), proseWidthOf(process.stdout)));
});

async function changeOf(options: RepositoryOptions): Promise<ChangeRepositoryRequest> {
  const { plan, planDefault, planningStatement, planningStatementFile, autoConfirmPlans, approvalAbove } = options;
  const statement = planningStatementFile === undefined ? planningStatement : await readText(planningStatementFile);
  return {
    ...(plan === undefined ? {} : { plan }),
    ...(planDefault === true ? { plan: null } : {}),
    ...(statement === undefined ? {} : { planningStatement: statement.trim() === "" ? null : statement }),
    ...(autoConfirmPlans === undefined ? {} : { autoConfirmPlans }),
    ...(approvalAbove === undefined ? {} : { approvalAboveUsd: approvalAbove === false ? null : approvalAbove }),
    ...egressRequest(options),
    ...publishingRequest(options),
    ...publishDefaultsRequest(options),
    ...(options.coAuthorDefault === true ? { coAuthor: null } : {}),
    ...variableRequest(options),
    ...setupRequest(options),
    ...checksRequest(options),
    ...runDefaultsRequest(options),
  };
}

async function listAll(client: RunyardClient, json: boolean): Promise<void> {
  const data: Repository[] = [];
  for await (const one of client.repositories.list({ limit: 100 })) data.push(one);
  if (json) return printJson({ data });
  if (data.length === 0) return say("No repository is known yet. Its first run makes it known, or: runyard repositories . --plan");
  const paint = paintFor(process.stdout);
  const words = data.map(planWord);
  const width = Math.max(...words.map((word) => word.length));
  data.forEach((one, index) => print(`${one.id}  ${paint("dim", words[index]?.padEnd(width) ?? "")}  ${printable(one.repositoryUrl)}`));
}

function planWord({ plan, autoConfirmPlans }: Repository): string {
  const word = plan === null ? "as organization" : plan ? "plan" : "no plan";
  return autoConfirmPlans ? `${word}, auto-confirm` : word;
}

function isId(name: string): boolean {
  return repositoryIdSchema.safeParse(name).success;
}

/** The repository of this folder or id; a folder is made known. */
export async function madeKnown(client: RunyardClient, name: string): Promise<Repository> {
  return isId(name) ? client.repositories.get(name) : client.repositories.create(repositoryArgument(name));
}

async function changed(client: RunyardClient, name: string, change: ChangeRepositoryRequest): Promise<Repository> {
  if (isId(name)) return client.repositories.update(name, change);
  return client.repositories.create({ repositoryUrl: repositoryArgument(name), ...change });
}

/** The repository as it is known; looking makes nothing known. */
export async function knownRepository(client: RunyardClient, name: string): Promise<Repository> {
  if (isId(name)) return client.repositories.get(name);
  const folder = repositoryArgument(name);
  let found: Repository | undefined;
  for await (const one of client.repositories.list({ limit: 100 })) {
    const isIn = folder === one.repositoryUrl || folder.startsWith(`${one.repositoryUrl}/`);
    if (isIn && one.repositoryUrl.length > (found?.repositoryUrl.length ?? -1)) found = one;
  }
  if (found !== undefined) return found;
  throw new CliError(`${folder} is in no repository that is known yet.`, {
    advice: "Its first run makes it known; so does a setting, for example --plan-default.",
    exitCode: EXIT.refused,
  });
}

function renderRepository(repository: Repository, paint: Paint, width: number): string {
  const { plan, planningStatement, autoConfirmPlans, approvalAboveUsd: above } = repository;
  const row = (name: string, text: string): string => wrapBehind(`  ${paint("dim", name.padEnd(9))} `, printable(text), width);
  const first = plan === null ? "as the organization has it" : plan ? "runs make one first" : "runs make none";
  return [
    `${paint("bold", repository.id)}  ${printable(repository.repositoryUrl)}`,
    row("plan", `${first}, unless they say otherwise`),
    row("confirm", autoConfirmPlans ? "plans are approved at once, by policy" : "plans wait for a person"),
    row("approve", above === null ? "no limit of its own" : `runs above ${money(above)} wait for a person`),
    row("statement", planningStatement ?? "none"),
    ...(repository.egress.length === 0 ? [] : [row("egress", `${repository.egress.join(", ")}, for its runs`)]),
    ...renderPublishing(repository, row),
    ...renderPublishDefaults(repository, row),
    ...renderVariables(repository, row),
    ...renderSetup(repository.setup, row),
    ...renderChecks(repository.checks, row),
    ...renderRunDefaults(repository, row),
  ].join("\n");
}
