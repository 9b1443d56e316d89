import {
  type CreateRunRequest,
  MACHINE_TYPES,
  type MachineType,
  MAX_RETRIES,
  MAX_VERIFY_RETRIES,
  RETRYABLE_ERRORS,
  type RetryableError,
  SANDBOX_TYPES,
  type SandboxType,
} from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";
import { parseListOf } from "./parse-list.ts";
import { addVerifyOptions, type VerifyOptions, verifyRequest } from "./verify-options.ts";

const RECOVERIES = ["timeout", "out-of-memory"] as const;

/** What the options of `run` say of attempts and of verifying. */
export interface AttemptOptions extends VerifyOptions {
  readonly sandboxType?: SandboxType;
  readonly machineType?: MachineType;
  readonly retries?: number;
  readonly retryOn?: RetryableError[];
  readonly recover?: (typeof RECOVERIES)[number][];
  readonly verifyRetries?: number;
}

export function addAttemptOptions(command: Command): Command {
  command
    .addOption(
      new Option("--sandbox-type <type>", "how much memory and processor (default: standard)")
        .choices(SANDBOX_TYPES)
        .conflicts("machineType"),
    )
    .addOption(new Option("--machine-type <type>", "the same by other names: standard, high-cpu, high-memory").choices(MACHINE_TYPES))
    .option("--retries <n>", `try again up to n times when an attempt breaks, 0 to ${MAX_RETRIES} (default: 0)`, parseUpTo(MAX_RETRIES))
    .option("--retry-on <types>", `after these errors: ${RETRYABLE_ERRORS.join(",")}`, parseListOf(RETRYABLE_ERRORS, "type of error"))
    .option("--recover <what>", "once: after timeout twice the time, after out-of-memory more of it", parseListOf(RECOVERIES, "recovery"));
  return addVerifyOptions(command, "verify nothing, whatever the repository has").option(
    "--verify-retries <n>",
    "how often the agent is told of a failure (default: 1)",
    parseUpTo(MAX_VERIFY_RETRIES),
  );
}

type Asked = Pick<CreateRunRequest, "settings" | "verify" | "verifyRetries">;

/** The part of a request that these options make. */
export function attemptRequest(options: AttemptOptions): Asked {
  if (options.retryOn !== undefined && options.retries === undefined)
    throw new CliError("--retry-on alone tries nothing again.", {
      advice: "Say how often, for example --retries 3.",
      exitCode: EXIT.usage,
    });
  const recovery = {
    ...(options.recover?.includes("timeout") === true ? { timeout: "double" as const } : {}),
    ...(options.recover?.includes("out-of-memory") === true ? { outOfMemory: "high-memory" as const } : {}),
  };
  const settings = {
    ...(options.sandboxType === undefined ? {} : { sandboxType: options.sandboxType }),
    ...(options.machineType === undefined ? {} : { machineType: options.machineType }),
    ...(options.retries === undefined ? {} : { maxRetries: options.retries }),
    ...(options.retryOn === undefined ? {} : { retryableErrors: options.retryOn }),
    ...(options.recover === undefined ? {} : { recovery }),
  };
  return {
    settings,
    ...verifyRequest(options),
    ...(options.verifyRetries === undefined ? {} : { verifyRetries: options.verifyRetries }),
  };
}

function parseUpTo(most: number): (value: string) => number {
  return (value) => {
    if (!/^\d+$/.test(value) || Number(value) > most) throw new InvalidArgumentError(`It must be a whole number from 0 to ${most}.`);
    return Number(value);
  };
}
