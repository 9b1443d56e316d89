import { text } from "node:stream/consumers";
import path from "node:path";
import { type CreateRunRequest, MAX_TASK_CHARS, SANDBOX_DRIVERS, TOOL_KINDS, type ToolKind } from "@runyard/sdk/contract";
import { InvalidArgumentError, Option } from "commander";
import { command, GROUP, jsonOption, ndjsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { handOver, type HandOverOptions } from "./hand-over.ts";
import { count } from "./output.ts";
import { splitWords } from "./words.ts";

interface RunOptions extends HandOverOptions {
  readonly repo?: string;
  readonly branch?: string;
  readonly agent?: string;
  readonly agentCommand?: string[];
  readonly model?: string;
  readonly sandbox?: (typeof SANDBOX_DRIVERS)[number];
  readonly timeout?: number;
  readonly ask?: ToolKind[];
  readonly deny?: ToolKind[];
}

export const run = command("run", {
  summary: "Give a task to an agent and watch; the result is a branch",
  group: GROUP.runs,
  more: `Your working tree is never touched: the agent works on a copy of HEAD, and the result is the branch runyard/<run> in your repository. Ctrl-C cancels the run, a second Ctrl-C leaves it running.
Exit codes: 0 completed, 1 failed, 3 cancelled or refused, 130 interrupted.`,
  examples: [
    'runyard run "fix the failing test"',
    'runyard run "update the docs" --repo ../site --agent opencode --ask execute',
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
  .option("--ask <kinds>", `ask a person first, for these kinds of tool call: ${TOOL_KINDS.join(",")}`, parseKinds)
  .option("--deny <kinds>", "refuse these kinds of tool call", parseKinds)
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
  const settings = {
    ...(options.timeout === undefined ? {} : { timeout: options.timeout * 1000 }),
    ...(options.sandbox === undefined ? {} : { sandboxDriver: options.sandbox }),
  };
  return {
    task: await taskOf(task, 'runyard run "fix the failing test"'),
    repositoryUrl: path.resolve(options.repo ?? "."),
    ...(options.branch === undefined ? {} : { branch: options.branch }),
    ...(options.agentCommand === undefined ? {} : { agent: { command: options.agentCommand } }),
    ...(options.agent === undefined ? {} : { agent: { profile: options.agent } }),
    ...(options.model === undefined ? {} : { model: options.model }),
    ...(options.ask === undefined && options.deny === undefined
      ? {}
      : { permissionPolicy: { ask: options.ask ?? [], deny: options.deny ?? [] } }),
    ...(Object.keys(settings).length === 0 ? {} : { settings }),
  };
}

/** The text that an agent is given, from the command line or, for "-", from stdin. */
export async function taskOf(word: string, example: string): Promise<string> {
  return checkTask(word === "-" ? await taskFromStdin() : word, example);
}

async function taskFromStdin(): Promise<string> {
  if (process.stdin.isTTY)
    throw new CliError("Nothing is on stdin.", { advice: "Give the task as an argument, or pipe it in.", exitCode: EXIT.usage });
  return text(process.stdin);
}

/** What the server would refuse, in words for a person at a terminal. */
function checkTask(task: string, example: string): string {
  const { length } = task.trim();
  if (length === 0)
    throw new CliError("The task is empty.", {
      advice: `Say what to do, for example: ${example}`,
      exitCode: EXIT.usage,
    });
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

function parseSeconds(value: string): number {
  const seconds = Number(value);
  if (!Number.isFinite(seconds) || seconds < 1) throw new InvalidArgumentError("It must be a number of seconds, at least 1.");
  return seconds;
}

function parseKinds(value: string): ToolKind[] {
  const kinds = value === "all" ? [...TOOL_KINDS] : value.split(",").map((kind) => kind.trim());
  for (const kind of kinds) {
    if (!(TOOL_KINDS as readonly string[]).includes(kind))
      throw new InvalidArgumentError(`"${kind}" is no kind of tool call. Kinds: ${TOOL_KINDS.join(", ")}, or all.`);
  }
  return kinds as ToolKind[];
}
