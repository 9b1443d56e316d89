import { type CreateRunRequest, MAX_SETUP_COMMANDS, type SetupRequest } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";
import { givenBefore } from "./option-value.ts";

/** What options say of the commands that make a workspace ready. */
export interface SetupOptions {
  /** False: none. */
  readonly setup?: string[] | false;
  readonly setupCacheKey?: string;
  readonly setupTimeout?: number;
}

/** `whose`: the run, or each run of a repository. */
export function addSetupOptions(command: Command, whose: string, none: string): Command {
  return command
    .option("--setup <command>", `makes the workspace of ${whose} ready before the agent begins; may be repeated`, collect)
    .option("--setup-cache-key <key>", "keep what that made under this key: later runs begin with it")
    .option("--setup-timeout <seconds>", "how long each of these commands may take (default: 600)", parseSeconds)
    .option("--no-setup", none);
}

/** The part of a request that these options make. */
export function setupRequest({ setup, setupCacheKey, setupTimeout }: SetupOptions): Pick<CreateRunRequest, "setup"> {
  if (setup === false) return { setup: null };
  // Where the option was not given, `--no-setup` makes it true.
  const commands = Array.isArray(setup) ? setup : [];
  if (commands.length > 0) {
    const asked: SetupRequest = {
      commands,
      ...(setupCacheKey !== undefined && { cacheKey: setupCacheKey }),
      ...(setupTimeout !== undefined && { timeout: setupTimeout * 1_000 }),
    };
    return { setup: asked };
  }
  if (setupCacheKey === undefined && setupTimeout === undefined) return {};
  throw new CliError(`${setupCacheKey === undefined ? "--setup-timeout" : "--setup-cache-key"} alone sets nothing up.`, {
    advice: "Say what makes the workspace ready, for example --setup 'npm ci'.",
    exitCode: EXIT.usage,
  });
}

function collect(value: string, before?: unknown): string[] {
  if (value.trim() === "") throw new InvalidArgumentError("It names no command.");
  const commands = [...givenBefore<string>(before), value];
  if (commands.length > MAX_SETUP_COMMANDS) throw new InvalidArgumentError(`There may be ${MAX_SETUP_COMMANDS} of them at most.`);
  return commands;
}

function parseSeconds(value: string): number {
  const seconds = Number(value);
  if (!Number.isInteger(seconds) || seconds < 1) throw new InvalidArgumentError("It must be a whole number of seconds, at least 1.");
  return seconds;
}
