import type { EventData, RunError, VerifyKind } from "@runyard/sdk/contract";

type Finished = EventData<"verify.finished">;

/** What the agent is told of a command that failed: its next prompt. */
export function feedbackOf(finished: Finished): string {
  return `Your work was checked with this command, and it did not succeed:

  ${finished.command}

It ${whatHappened(finished)}. ${outputOf(finished)}

Find out why, and correct your work, so that the command succeeds. It is run again when you are done.`;
}

const ERROR_TYPES: Readonly<Record<VerifyKind, RunError["type"]>> = {
  build: "compilation-error",
  lint: "compilation-error",
  test: "test-failure",
};

/** The most of the output that an error's message holds, in characters. */
const MAX_QUOTED_CHARS = 2_000;

/** The error of a run whose work failed for good; `why` says why it did not go back to the agent once more. */
export function verifyError(finished: Finished, options: { readonly why: string; readonly workspace: string }): RunError {
  return {
    type: finished.cause === "out-of-memory" ? "out-of-memory" : ERROR_TYPES[finished.kind],
    message: `\`${finished.command}\` ${whatHappened(finished)}. ${options.why} No branch was made; what the agent left is in ${options.workspace}.${endOf(finished.output)}`,
  };
}

/** The end of a command's output as the end of a message; nothing, where it wrote nothing. */
export function endOf(output: string): string {
  const text = output.trimEnd();
  const quoted = text.length > MAX_QUOTED_CHARS ? `…${text.slice(-MAX_QUOTED_CHARS)}` : text;
  return quoted === "" ? "" : ` The end of the output:\n${quoted}`;
}

/** How a command of a user's that failed has ended, as the end of a sentence without its stop. */
export function whatHappened({ cause, exitCode }: Pick<Finished, "cause" | "exitCode">): string {
  if (cause === "timeout") return "ran longer than it may and was ended";
  if (cause === "output-limit") return "wrote more than it may and was ended";
  if (cause === "out-of-memory") return "ran out of memory and was ended";
  return exitCode === 127 ? "ended with exit code 127: a program was not found" : `ended with exit code ${exitCode ?? "unknown"}`;
}

function outputOf({ output, truncated }: Finished): string {
  if (output.trim() === "") return "It wrote nothing.";
  return `${truncated ? "The end of what it wrote" : "It wrote"}:\n\n${output.trimEnd()}`;
}
