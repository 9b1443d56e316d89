import { type ChecksRequest, checksSettingsSchema, type CreateRunRequest } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";
import { checkedOption } from "./option-value.ts";

const FIELDS = checksSettingsSchema.shape;

/** What options say of the checks of what runs publish. */
export interface ChecksOptions extends WatchOptions {
  readonly checkRetries?: number;
  readonly checkRetriesOf?: Record<string, number>;
  readonly ignoreCheck?: string[];
  readonly checkPrompt?: Record<string, string>;
  readonly checksTimeout?: number;
}

export interface WatchOptions {
  readonly watchChecks?: boolean;
}

/** Of one run. */
export function addWatchOptions(command: Command): Command {
  return command
    .option("--watch-checks", "wait for the checks of what it publishes, and have the agent put right what fails")
    .option("--no-watch-checks", "do not, whatever the repository has");
}

export function watchRequest({ watchChecks }: WatchOptions): Pick<CreateRunRequest, "watchChecks"> {
  return watchChecks === undefined ? {} : { watchChecks };
}

/** Of the runs of a repository. */
export function addChecksOptions(command: Command): Command {
  return command
    .option("--watch-checks", "its runs wait for the checks of what they publish, and their agents put right what fails")
    .option("--no-watch-checks", "they do not, unless they say so")
    .option("--check-retries <n>", "how often failed checks go back to the agent (default: 3)", parseNumber("retries", 1))
    .option("--check-retries-of <check=n>", "the same of one check; may be repeated", collectRetries)
    .option("--ignore-check <name>", "a check that counts for nothing, * standing for any text; may be repeated", collectIgnored)
    .option("--check-prompt <check=text>", "what the agent is told to do where this check fails; may be repeated", collectPrompts)
    .option("--checks-timeout <seconds>", "how long the checks of a commit are waited for (default: 3600)", parseNumber("timeout", 1_000));
}

/** The part of a change of a repository that these options make; they replace all that held for its checks before. */
export function checksRequest(options: ChecksOptions): { checks?: ChecksRequest | null } {
  const { watchChecks, checkRetries, checkRetriesOf, ignoreCheck, checkPrompt, checksTimeout } = options;
  const rest: ChecksRequest = {
    ...(checkRetries !== undefined && { retries: checkRetries }),
    ...(checkRetriesOf !== undefined && { retriesByCheck: checkRetriesOf }),
    ...(ignoreCheck !== undefined && { ignored: ignoreCheck }),
    ...(checkPrompt !== undefined && { prompts: checkPrompt }),
    ...(checksTimeout !== undefined && { timeout: checksTimeout }),
  };
  const isSaid = Object.keys(rest).length > 0;
  if (watchChecks === undefined && isSaid)
    throw new CliError("Options of checks stand beside --watch-checks or --no-watch-checks.", {
      advice: "Say whether runs wait for checks: all that held for them before is replaced.",
      exitCode: EXIT.usage,
    });
  if (watchChecks === undefined) return {};
  return { checks: watchChecks || isSaid ? { watch: watchChecks, ...rest } : null };
}

function parseNumber(name: "retries" | "timeout", factor: number): (value: string) => number {
  return (value) => checkedOption(FIELDS[name], /^\d{1,9}$/.test(value) ? Number(value) * factor : Number.NaN);
}

function collectRetries(word: string, before: Record<string, number> = {}): Record<string, number> {
  const [name, value] = pairOf(word);
  return checkedOption(FIELDS.retriesByCheck, { ...before, [name]: /^\d+$/.test(value) ? Number(value) : Number.NaN });
}

function collectPrompts(word: string, before: Record<string, string> = {}): Record<string, string> {
  const [name, value] = pairOf(word);
  return checkedOption(FIELDS.prompts, { ...before, [name]: value });
}

function collectIgnored(name: string, before: string[] = []): string[] {
  return checkedOption(FIELDS.ignored, [...before, name]);
}

/** Names of checks may hold a "=" only where it is not the first. */
function pairOf(word: string): [name: string, value: string] {
  const at = word.indexOf("=");
  if (at < 1) throw new InvalidArgumentError('It must be the name of a check, "=", and what holds for it.');
  return [word.slice(0, at), word.slice(at + 1)];
}
