import { spawn } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import { keepOutput, oneLine, type OutputKeeper } from "../text.ts";
import { forgetGroup, killGroup, trackGroup } from "./process-groups.ts";
import { defineTool, textContent, type ToolContext, type ToolOutcome } from "./tool.ts";

const DEFAULT_TIMEOUT_S = 120;
const MAX_TIMEOUT_S = 1_800;
const OUTPUT_LIMITS = { headBytes: 16 * 1024, tailBytes: 48 * 1024 };
/** How long output may still come in after the command has ended: what it left in the background may hold the pipe. */
const DRAIN_MS = 300;

/**
 * The command's output goes through `cat`, because what Node gives a child as stdout is a socket, and a
 * socket cannot be opened as /dev/stderr or /dev/stdout, which scripts do. Its exit code comes on descriptor 3.
 */
const WRAPPER = '{ sh -c "$1" 3>&-; echo "$?" >&3; } 2>&1 | cat 3>&-';

/** The agent's own way to the model: no business of the commands that it runs. */
const PRIVATE_VARIABLES = new Set(["OPENAI_API_KEY", "OPENAI_BASE_URL", "RUNYARD_MODEL"]);

/** What the programs that the agent starts are given. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !PRIVATE_VARIABLES.has(name)));
}

export const runCommandTool = defineTool({
  description:
    "Run a command with `sh -c` in the working directory, without a terminal and without input. Returns its output (stdout and stderr together; of long output the beginning and the end) and its exit code.",
  inputSchema: z.object({
    command: z
      .string()
      .min(1)
      .refine((command) => !command.includes("\0"), "must not contain NUL")
      .describe("The command line"),
    timeout: z
      .number()
      .min(1)
      .max(MAX_TIMEOUT_S)
      .optional()
      .describe(`Seconds after which it is killed; default ${DEFAULT_TIMEOUT_S}, at most ${MAX_TIMEOUT_S}`),
  }),
  kind: "execute",
  needsPermission: true,
  title: (input) => oneLine(input.command, 200),
  async prepare(input, context) {
    return { run: () => runCommand(input.command, { timeoutMs: (input.timeout ?? DEFAULT_TIMEOUT_S) * 1000, context }) };
  },
});

interface Ending {
  /** Null when the command was killed from here. */
  readonly exitCode: number | null;
  readonly killed: "timeout" | "cancel" | null;
}

async function runCommand(command: string, options: { timeoutMs: number; context: ToolContext }): Promise<ToolOutcome> {
  const { context, timeoutMs } = options;
  const output = keepOutput(OUTPUT_LIMITS);
  const startedAt = Date.now();
  const stopShowing = showWhileRunning(output, context);
  const ending = await execute(command, { output, context, timeoutMs }).finally(stopShowing);
  const text = output.text();
  const notes = { timeout: `[killed: it did not end within ${timeoutMs / 1000} s]`, cancel: "[killed: the turn was cancelled]" };
  const note = ending.killed === null ? `[exit code ${ending.exitCode}]` : notes[ending.killed];
  return {
    text: text === "" ? note : `${text}${text.endsWith("\n") ? "" : "\n"}${note}`,
    failed: ending.exitCode !== 0,
    content: textContent(ending.killed === null ? text : `${text}\n${note}`),
    rawOutput: {
      exitCode: ending.exitCode,
      timedOut: ending.killed === "timeout",
      outputBytes: output.size(),
      durationMs: Date.now() - startedAt,
    },
  };
}

async function execute(command: string, options: { output: OutputKeeper; context: ToolContext; timeoutMs: number }): Promise<Ending> {
  const { output, context } = options;
  const env = commandEnvironment();
  const child = spawn("sh", ["-c", WRAPPER, "sh", command], {
    cwd: context.root,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "ignore", "pipe"],
  });
  const { pid } = child;
  if (pid === undefined) return await new Promise((_, reject) => child.once("error", reject));
  trackGroup(pid);
  child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
  const drained = new Promise<void>((resolve) => child.stdout?.once("close", resolve));
  void drained.then(() => forgetGroup(pid));

  let killed: Ending["killed"] = null;
  const kill = (why: "timeout" | "cancel"): void => {
    killed ??= why;
    killGroup(pid);
  };
  const onAbort = (): void => kill("cancel");
  const timer = setTimeout(() => kill("timeout"), options.timeoutMs);
  context.signal.addEventListener("abort", onAbort);
  if (context.signal.aborted) onAbort();
  try {
    const exitCode = await exitCodeOf(child);
    await Promise.race([drained, wait(DRAIN_MS)]);
    return { exitCode: killed === null ? exitCode : null, killed };
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener("abort", onAbort);
  }
}

/** The code that comes on descriptor 3, or null when the group was killed before it was written. */
async function exitCodeOf(child: ReturnType<typeof spawn>): Promise<number | null> {
  return await new Promise((resolve) => {
    let digits = "";
    const settle = (): void => resolve(digits === "" ? null : Number(digits));
    child.stdio[3]?.on("data", (chunk: Buffer) => {
      digits += chunk.toString("latin1");
      if (digits.endsWith("\n")) settle();
    });
    child.stdio[3]?.once("close", settle);
  });
}

/** Shows output as it comes: the more there is to show, the less often, so that a noisy command cannot flood the log. */
function showWhileRunning(output: OutputKeeper, context: ToolContext): () => void {
  let shown = 0;
  let timer: NodeJS.Timeout;
  const schedule = (): void => {
    timer = setTimeout(show, 200 + Math.min(output.size(), 64 * 1024) / 16);
  };
  const show = (): void => {
    if (output.size() !== shown) context.show(textContent(output.text()));
    shown = output.size();
    schedule();
  };
  schedule();
  return () => clearTimeout(timer);
}
