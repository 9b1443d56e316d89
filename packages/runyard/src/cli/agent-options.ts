import type { ChangeAgentRequest } from "@runyard/sdk/contract";
import { type Command, Option } from "commander";
import { advisoryOption, budgetRequest, parseDollars, parseTokens } from "./budget-options.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { parseJsonOption } from "./json-option.ts";
import { type PermissionOptions, permissionOptions } from "./permission-options.ts";
import { parseCommand } from "./parse-command.ts";
import { readText } from "./read-text.ts";
import { addNoVariableOptions, addVariableOptions, type VariableOptions, variableRequest } from "./variable-options.ts";

/** What the options of `agents create` and `agents update` say of an agent. */
export interface AgentOptions extends VariableOptions {
  readonly description?: string;
  readonly profile?: string;
  readonly agentCommand?: string[];
  readonly model?: string;
  readonly instructions?: string;
  readonly instructionsFile?: string;
  readonly plan?: boolean;
  readonly planDefault?: boolean;
  readonly mcpServers?: ChangeAgentRequest["mcpServers"];
  readonly settings?: ChangeAgentRequest["settings"];
  /** False: none any more. */
  readonly budget?: number | false;
  readonly budgetTokens?: number;
  readonly dailyCap?: number | false;
  readonly budgetAdvisory?: boolean;
  readonly ownLogin?: boolean;
}

/** Adds the options; what comes back reads the part of a request that they make. */
export function addAgentOptions(command: Command): (options: AgentOptions) => Promise<ChangeAgentRequest> {
  const permissions = permissionOptions();
  command
    .option("--description <text>", "what it is for")
    .addOption(new Option("--profile <name>", "the profile that it works as (default: builtin)").conflicts("agentCommand"))
    .option("--agent-command <words>", "in its place: any program that speaks ACP, run in the workspace", parseCommand)
    .option("--own-login", "its runs call with the login that the agent's own program holds on the server's machine")
    .option("--model <name>", "the model")
    .option("--instructions <text>", "what stands in front of the first prompt of each of its runs")
    .addOption(new Option("--instructions-file <file>", 'the same from a file; "-" reads it from stdin').conflicts("instructions"))
    .option("--plan", "its runs make a plan first")
    .option("--no-plan", "they do not")
    .addOption(permissions.allow)
    .addOption(permissions.ask)
    .addOption(permissions.deny)
    .option("--mcp-servers <json>", "MCP servers for it: a JSON list, or @file", parseJsonOption)
    .option("--settings <json>", "settings of its runs, as the API has them: a JSON object, or @file", parseJsonOption)
    .option("--budget <dollars>", "what the model calls of each of its runs may cost at most, in US dollars", parseDollars)
    .option("--budget-tokens <number>", "how many tokens each of them may use at most", parseTokens)
    .option("--daily-cap <dollars>", "what all of them together may spend in a day (UTC), in US dollars", parseDollars)
    .addOption(advisoryOption());
  addVariableOptions(command, "each of its runs");
  return (options) => changeOf(options, permissions);
}

/** Options that take away what there was; texts are taken away by empty ones. */
export function addRemovingOptions(command: Command): Command {
  return addNoVariableOptions(command)
    .addOption(new Option("--plan-default", "they plan as the repository or the organization has it").conflicts("plan"))
    .option("--no-own-login", "they call with the server's keys")
    .option("--no-budget", "no such limit")
    .option("--no-daily-cap", "no such cap");
}

async function changeOf(options: AgentOptions, permissions: PermissionOptions): Promise<ChangeAgentRequest> {
  const { description, profile, agentCommand: words, model, plan, mcpServers, settings, dailyCap } = options;
  const instructions = options.instructionsFile === undefined ? options.instructions : await readText(options.instructionsFile);
  const permissionPolicy = permissions.policy();
  const budget = budgetOf(options);
  return {
    ...(description !== undefined && { description: orNull(description) }),
    ...(profile !== undefined && { profile }),
    ...(words !== undefined && { command: words }),
    ...(options.ownLogin !== undefined && { login: options.ownLogin ? "own" : "gateway" }),
    ...(model !== undefined && { model: orNull(model) }),
    ...(instructions !== undefined && { instructions: orNull(instructions) }),
    ...(plan !== undefined && { plan }),
    ...(options.planDefault === true && { plan: null }),
    ...(permissionPolicy !== undefined && { permissionPolicy }),
    ...(mcpServers !== undefined && { mcpServers }),
    ...(settings !== undefined && { settings }),
    ...(budget !== undefined && { budget }),
    ...variableRequest(options),
    ...(dailyCap !== undefined && { dailyCapUsd: dailyCap === false ? null : dailyCap }),
  };
}

function budgetOf({ budget: usd, ...more }: AgentOptions): ChangeAgentRequest["budget"] {
  if (usd === false) {
    if (Object.keys(budgetRequest(more)).length > 0) throw new CliError("--no-budget stands beside a budget.", { exitCode: EXIT.usage });
    return null;
  }
  return budgetRequest({ ...more, ...(usd !== undefined && { budget: usd }) }).budget;
}

/** An empty text takes away what was there. */
function orNull(text: string): string | null {
  return text.trim() === "" ? null : text;
}
