import { text } from "node:stream/consumers";
import path from "node:path";
import { type CreateRunRequest, idempotencyKeySchema, MAX_TASK_CHARS, SANDBOX_DRIVERS } from "@runyard/sdk/contract";
import { InvalidArgumentError, Option } from "commander";
import { addAttemptOptions, type AttemptOptions, attemptRequest } from "./attempt-options.ts";
import { command, GROUP, jsonOption, ndjsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { handOver, type HandOverOptions } from "./hand-over.ts";
import { count } from "./output.ts";
import { permissionOptions } from "./permission-options.ts";
import { addPlanOptions, type PlanOptions, planRequest } from "./plan-options.ts";
import { splitWords } from "./words.ts";

interface RunOptions extends HandOverOptions, AttemptOptions, PlanOptions {
  readonly repo?: string;
  readonly branch?: string;
  readonly agent?: string;
  readonly agentCommand?: string[];
  readonly model?: string;
  readonly sandbox?: (typeof SANDBOX_DRIVERS)[number];
  readonly timeout?: number;
  readonly agentWait?: number;
  readonly idempotencyKey?: string;
}

const permissions = permissionOptions();

const base = command("run", {
  summary: "Give a task to an agent and watch; the result is a branch",
  group: GROUP.runs,
  more: `Your working tree is never touched: the agent works on a copy of HEAD, and the result is the branch runyard/<run> in your repository. Ctrl-C cancels the run, a second Ctrl-C leaves it running.
Of --allow, --ask and --deny the first that fits a tool call decides, in the order in which they are given; what none fits is allowed in a sandbox. Kinds alone, without --allow, are the exception: there --deny counts first. A pattern is a command line for execute and a path for other kinds.
With --plan the agent first makes a plan, in a workspace that is thrown away. The run then waits until somebody says \`runyard confirm\`, \`revise\` or \`reject\`, from any terminal.
Exit codes: 0 completed, 1 failed, 3 cancelled, refused or its plan rejected, 130 interrupted.`,
  examples: [
    'runyard run "fix the failing test"',
    'runyard run "move the parser to its own package" --plan',
    'runyard run "update the docs" --repo ../site --agent opencode --ask execute',
    `runyard run "make it faster" --verify "npm test" --retries 3`,
    "runyard run \"fix the bug\" --allow 'execute:npm test*' --deny 'execute:git push*' --ask execute",
    "runyard run - --detach --json < task.md",
  ],
})
  .argument("<task>", 'what to do; "-" reads it from stdin')
  .option("--repo <path>", "a git repository on this machine (default: the one of the current folder)")
  .option("--branch <name>", "the branch to start from (default: HEAD)")
  .addOption(new Option("--agent <name>", "the agent's profile, for example builtin or opencode").conflicts("agentCommand"))
  .option("--agent-command <words>", "any program that speaks ACP, run in the workspace, for example 'node my-agent.mjs'", parseCommand)
  .option("--model <name>", "the model (default: the server's RUNYARD_MODEL)")
  .addOption(new Option("--sandbox <driver>", "how to isolate; process does NOT isolate").choices(SANDBOX_DRIVERS))
  .option("--timeout <seconds>", "active time that the run may use (default: 3600)", parseSeconds)
  .option("--agent-wait <seconds>", "how long the agent is kept waiting for an answer before it is let go (default: 600)", parseSeconds)
  .addOption(permissions.allow)
  .addOption(permissions.ask)
  .addOption(permissions.deny);

export const run = addAttemptOptions(addPlanOptions(base))
  .option("--idempotency-key <key>", "a name of your own for this run: the same command under the same key gives the same run", parseKey)
  .option("-d, --detach", "do not wait for the end")
  .option("-v, --verbose", "show thoughts and the agent's stray output too")
  .addOption(jsonOption())
  .addOption(ndjsonOption())
  .action(async (task: string, options: RunOptions) => {
    const client = connect();
    const created = await client.runs.create(await requestOf(task, options));
    await handOver(client, created, { ...options, after: 0 });
  });

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
  };
  return {
    task: await taskOf(task),
    repositoryUrl: path.resolve(options.repo ?? "."),
    ...(options.branch === undefined ? {} : { branch: options.branch }),
    ...(options.agentCommand === undefined ? {} : { agent: { command: options.agentCommand } }),
    ...(options.agent === undefined ? {} : { agent: { profile: options.agent } }),
    ...(options.model === undefined ? {} : { model: options.model }),
    ...(permissionPolicy === undefined ? {} : { permissionPolicy }),
    ...(options.idempotencyKey === undefined ? {} : { idempotencyKey: options.idempotencyKey }),
    ...(Object.keys(settings).length === 0 ? {} : { settings }),
    ...verify,
    ...plan,
  };
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

function parseCommand(line: string): string[] {
  try {
    const words = splitWords(line);
    if (words.length > 0) return words;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  throw new InvalidArgumentError("It names no program.");
}

function parseKey(value: string): string {
  const parsed = idempotencyKeySchema.safeParse(value);
  if (!parsed.success) throw new InvalidArgumentError(`It ${parsed.error.issues[0]?.message ?? "is no key"}.`);
  return value;
}

function parseSeconds(value: string): number {
  const seconds = Number(value);
  if (!Number.isFinite(seconds) || seconds < 1) throw new InvalidArgumentError("It must be a number of seconds, at least 1.");
  return seconds;
}
