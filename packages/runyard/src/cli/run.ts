import { text } from "node:stream/consumers";
import {
  type CreateRunRequest,
  idempotencyKeySchema,
  type IsolationFloor,
  MAX_TASK_CHARS,
  money,
  REPOSITORY_PERMISSIONS,
  RUN_PERMISSIONS,
  type RunEstimate,
  type RunPermission,
  SANDBOX_DRIVERS,
  WORKSPACE_PERMISSIONS,
} from "@runyard/sdk/contract";
import { InvalidArgumentError, Option } from "commander";
import { approvalOption } from "./approval-option.ts";
import { addAttemptOptions, type AttemptOptions, attemptRequest } from "./attempt-options.ts";
import { egressOption, floorOption } from "./bounds-options.ts";
import { addBudgetOptions, type BudgetOptions, budgetRequest } from "./budget-options.ts";
import { addWatchOptions, type WatchOptions, watchRequest } from "./checks-options.ts";
import { command, GROUP, jsonOption, ndjsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { handOver, type HandOverOptions } from "./hand-over.ts";
import { parseJsonOption } from "./json-option.ts";
import { count, duration, plural, print, printJson } from "./output.ts";
import { groupOptions, type OptionGroups } from "./option-groups.ts";
import { checkedOption } from "./option-value.ts";
import { parseCommand } from "./parse-command.ts";
import { parseListOf } from "./parse-list.ts";
import { permissionOptions } from "./permission-options.ts";
import { addPlanOptions, type PlanOptions, planRequest } from "./plan-options.ts";
import { addPublishOptions, type PublishOptions, publishRequest } from "./publish-options.ts";
import { repositoryArgument } from "./repository-argument.ts";
import { addRepositoryOptions, type RepositoryOptions, repositoryRequest } from "./repository-options.ts";
import { addReviewOptions, type ReviewOptions, reviewedRepository, reviewRequest } from "./review-options.ts";
import { addSetupOptions, type SetupOptions, setupRequest } from "./setup-options.ts";
import { addVariableOptions, type VariableOptions, variableRequest } from "./variable-options.ts";

interface RunOptions
  extends
    HandOverOptions,
    AttemptOptions,
    PlanOptions,
    BudgetOptions,
    VariableOptions,
    SetupOptions,
    PublishOptions,
    RepositoryOptions,
    ReviewOptions,
    WatchOptions {
  readonly repo?: string;
  readonly branch?: string;
  readonly context?: CreateRunRequest["context"];
  readonly file?: string[];
  readonly mcpServers?: CreateRunRequest["mcpServers"];
  readonly agent?: string;
  readonly agentCommand?: string[];
  readonly ownLogin?: boolean;
  readonly model?: string;
  readonly sandbox?: (typeof SANDBOX_DRIVERS)[number];
  readonly image?: string;
  readonly permissions?: RunPermission[];
  readonly egress?: string[];
  readonly isolationFloor?: IsolationFloor;
  readonly timeout?: number;
  readonly agentWait?: number;
  readonly idempotencyKey?: string;
  readonly estimate?: boolean;
  readonly approvalAbove?: number;
}

const permissions = permissionOptions();

const base = command("run", {
  summary: "Give a task to an agent and watch; the result is a branch, or a pull request",
  group: GROUP.runs,
  more: `Your working tree is never touched: the agent works on a copy of HEAD, and the result is the branch runyard/<run> in your repository, or, of one by URL, pushed there. Ctrl-C cancels the run, a second Ctrl-C leaves it running.
Of --allow, --ask and --deny the first that fits a tool call decides, in the order in which they are given; what none fits is allowed in a sandbox. Kinds alone, without --allow, are the exception: there --deny counts first. A pattern is a command line for execute and a path for other kinds.
With --plan the agent first makes a plan, in a workspace that is thrown away. The run then waits until somebody says \`runyard confirm\`, \`revise\` or \`reject\`, from any terminal. In the same way a run that may cost more than --approval-above waits before it begins, for \`runyard approve\` or \`reject\`; of several such limits the lowest counts.
Exit codes: 0 completed, 1 failed, 3 cancelled, refused or rejected, 130 interrupted.`,
  examples: [
    'runyard run "fix the failing test"',
    'runyard run "move the parser to its own package" --plan',
    'runyard run "fix the failing test" --repo https://git.example.com/acme/app.git --branch next',
    'runyard run "fix the failing test" --repo https://github.com/acme/app.git --draft --label by-agent',
    'runyard run "look for races" --review https://github.com/acme/app/pull/7',
    'runyard run "update the docs" --repo ../site --agent opencode --ask execute',
    'runyard run "rename the type everywhere" --add-repo ../lib --read-repo ../docs#main',
    'runyard run "fix it" --context \'{"issue": "LIN-123"}\' --file src/login.ts --file src/auth.ts',
    `runyard run "make it faster" --verify "npm test" --retries 3`,
    "runyard run \"fix the bug\" --allow 'execute:npm test*' --deny 'execute:git push*' --ask execute",
    'runyard run "write the missing docs" --budget 2.50',
    'runyard run "fix the failing test" --env NODE_ENV=test --secret NPM_TOKEN',
    'runyard run "refactor the parser" --approval-above 5',
    "runyard run - --detach --json < task.md",
  ],
})
  .argument("<task>", 'what to do; "-" reads it from stdin')
  .option("--repo <repository>", "a git repository: its folder on this machine, or its URL (default: the one of the current folder)")
  .option("--branch <name>", "the branch to start from (default: as the repository has it, else HEAD, or the default branch of a URL)")
  .option("--context <json>", "what else the agent is to know: a JSON object, or @file", parseJsonOption)
  .option("--file <path>", "a file that the agent is to look at first, from the top of the repository; may be repeated", collectFile)
  .addOption(
    new Option(
      "--agent <name>",
      "the agent: a saved one, or a profile such as builtin or opencode (default: as the repository has it, else builtin)",
    ).conflicts("agentCommand"),
  )
  .option("--agent-command <words>", "any program that speaks ACP, run in the workspace, for example 'node my-agent.mjs'", parseCommand)
  .option("--own-login", "call with the login that the agent's own program holds on the server's machine (claude, codex)")
  .option("--no-own-login", "call with the server's keys, whatever the saved agent says")
  .option("--model <name>", "the model (default: the agent's, or the server's RUNYARD_MODEL)")
  .option("--mcp-servers <json>", "MCP servers for the agent: a JSON list, or @file", parseJsonOption)
  .addOption(new Option("--sandbox <driver>", "how to isolate; process does NOT isolate").choices(SANDBOX_DRIVERS))
  .option("--image <image>", "the container image of a run with --sandbox docker (default: the server's)")
  .option(
    "--permissions <list>",
    `what the run is granted: ${WORKSPACE_PERMISSIONS.join(",")} for its workspace, ${REPOSITORY_PERMISSIONS.join(",")} for the repository (default: all)`,
    parseListOf(RUN_PERMISSIONS, "permission"),
  )
  .addOption(egressOption("the sandbox"))
  .addOption(floorOption("its sandbox"))
  .option("--timeout <seconds>", "active time that the run may use (default: 3600)", parseSeconds)
  .option("--agent-wait <seconds>", "how long the agent is kept waiting for an answer before it is let go (default: 600)", parseSeconds)
  .addOption(permissions.allow)
  .addOption(permissions.ask)
  .addOption(permissions.deny);

const GROUPS: OptionGroups = {
  "Task and repositories": ["repo", "branch", "context", "file", "add-repo", "read-repo"],
  "Agent and model": ["agent", "agent-command", "own-login", "model", "mcp-servers"],
  Sandbox: ["sandbox", "image", "sandbox-type", "machine-type", "egress", "isolation-floor", "env", "secret"],
  "Set-up": ["setup", "setup-cache-key", "setup-timeout"],
  Permissions: ["permissions", "allow", "ask", "deny"],
  Plan: ["plan", "strict-plan", "plan-timeout", "on-plan-timeout"],
  Cost: ["budget", "budget-tokens", "budget-advisory", "approval-above", "estimate"],
  "Time and retries": ["timeout", "agent-wait", "retries", "retry-on", "recover"],
  Verification: ["verify", "verify-build", "verify-lint", "verify-retries"],
  Result: ["publish", "draft", "title", "label", "reviewer", "allow-references", "watch-checks", "review", "review-event"],
};

export const run = addSetupOptions(
  addReviewOptions(
    addWatchOptions(
      addPublishOptions(addAttemptOptions(addPlanOptions(addBudgetOptions(addVariableOptions(addRepositoryOptions(base), "the run"))))),
    ),
  ),
  "the run",
  "no set-up, whatever the repository has",
)
  .addOption(approvalOption("let it wait for"))
  .option("--idempotency-key <key>", "a name of your own for this run: the same command under the same key gives the same run", (key) =>
    checkedOption(idempotencyKeySchema, key),
  )
  .option("--estimate", "say what it would cost, and create nothing")
  .option("-d, --detach", "do not wait for the end")
  .option("-v, --verbose", "show thoughts and the agent's stray output too")
  .addOption(jsonOption())
  .addOption(ndjsonOption())
  .action(async (task: string, options: RunOptions) => {
    const client = connect();
    const request = await requestOf(task, options);
    if (options.estimate === true) return showEstimate(await client.runs.estimate(request), options.json === true);
    const created = await client.runs.create(request);
    await handOver(client, created, { ...options, after: 0 });
  });
groupOptions(run, GROUPS);

const WAITS = {
  approval: "it would wait for somebody to approve what it costs",
  memory: "it would wait for the memory of its sandbox",
} as const;

function showEstimate(estimate: RunEstimate, json: boolean): void {
  if (json) return printJson(estimate);
  printCost(estimate);
  // Servers of earlier versions do not say it.
  for (const what of (estimate as Partial<RunEstimate>).waitsFor ?? []) print(WAITS[what]);
}

function printCost({ cost, range, executionTime, basis, runs }: RunEstimate): void {
  if (cost === null || range === null) return print("unknown: nobody knows what the model costs (docs/budgets.md)");
  const from =
    basis === "history" ? `${plural(runs, "run")} of this agent on this repository` : "a rough formula, for want of runs of this kind";
  const time = executionTime === null ? "" : `, ${duration(executionTime)}`;
  print(`about ${money(cost)}${time}, mostly ${money(range.low)} to ${money(range.high)}; by ${from}`);
}

async function requestOf(task: string, options: RunOptions): Promise<CreateRunRequest> {
  const { settings: attempts, ...verify } = attemptRequest(options);
  const { settings: plans, ...plan } = planRequest(options);
  const permissionPolicy = permissions.policy();
  const settings = {
    ...attempts,
    ...plans,
    ...(options.timeout === undefined ? {} : { timeout: options.timeout * 1000 }),
    ...(options.agentWait === undefined ? {} : { agentWait: options.agentWait * 1000 }),
    ...(options.sandbox === undefined ? {} : { sandboxDriver: options.sandbox }),
    ...(options.image === undefined ? {} : { image: options.image }),
    ...(options.permissions === undefined ? {} : { permissions: options.permissions }),
    ...(options.egress === undefined ? {} : { egress: options.egress }),
    ...(options.isolationFloor === undefined ? {} : { isolationFloor: options.isolationFloor }),
    ...(options.approvalAbove === undefined ? {} : { approvalAboveUsd: options.approvalAbove }),
  };
  return {
    task: await taskOf(task),
    repositoryUrl: repositoryArgument(options.repo ?? reviewedRepository(options) ?? "."),
    ...(options.branch === undefined ? {} : { branch: options.branch }),
    ...repositoryRequest(options),
    ...agentRequest(options),
    ...(options.context === undefined ? {} : { context: options.context }),
    ...(options.file === undefined ? {} : { files: options.file }),
    ...(options.mcpServers === undefined ? {} : { mcpServers: options.mcpServers }),
    ...(options.model === undefined ? {} : { model: options.model }),
    ...(permissionPolicy === undefined ? {} : { permissionPolicy }),
    ...(options.idempotencyKey === undefined ? {} : { idempotencyKey: options.idempotencyKey }),
    ...(Object.keys(settings).length === 0 ? {} : { settings }),
    ...setupRequest(options),
    ...verify,
    ...plan,
    ...budgetRequest(options),
    ...variableRequest(options),
    ...publishRequest(options),
    ...reviewRequest(options),
    ...watchRequest(options),
  };
}

function agentRequest({ agent: name, agentCommand: words, ownLogin }: RunOptions): Pick<CreateRunRequest, "agent"> {
  const agent = {
    ...(name !== undefined && { name }),
    ...(words !== undefined && { command: words }),
    ...(ownLogin !== undefined && { login: ownLogin ? ("own" as const) : ("gateway" as const) }),
  };
  return Object.keys(agent).length === 0 ? {} : { agent };
}

/** The text that an agent is given, from the command line or, for "-", from stdin. */
export async function taskOf(word: string): Promise<string> {
  return checkLength(word === "-" ? await taskFromStdin() : word);
}

async function taskFromStdin(): Promise<string> {
  if (process.stdin.isTTY)
    throw new CliError("Nothing is on stdin.", { advice: "Give the task as an argument, or pipe it in.", exitCode: EXIT.usage });
  return text(process.stdin);
}

/** The server would refuse it in other words, and only after a million characters have been sent. */
function checkLength(task: string): string {
  const { length } = task.trim();
  if (length <= MAX_TASK_CHARS) return task;
  throw new CliError(`The task has ${count(length)} characters, and the most is ${count(MAX_TASK_CHARS)}.`, {
    advice: "Put what is long into a file of the repository, and name that file in the task.",
    exitCode: EXIT.usage,
  });
}

function collectFile(file: string, before: string[] = []): string[] {
  return [...before, file];
}

function parseSeconds(value: string): number {
  const seconds = Number(value);
  if (!Number.isFinite(seconds) || seconds < 1) throw new InvalidArgumentError("It must be a number of seconds, at least 1.");
  return seconds;
}
