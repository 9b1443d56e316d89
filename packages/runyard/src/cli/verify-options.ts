import type { CreateRunRequest } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";

/** What options say of the commands that verify work. */
export interface VerifyOptions {
  /** False: none. */
  readonly verify?: string[] | false;
  readonly verifyBuild?: string[];
  readonly verifyLint?: string[];
}

/** Of a run, or of the runs of a repository; `none`: what `--no-verify` comes to. */
export function addVerifyOptions(command: Command, none: string): Command {
  return command
    .option("--verify <command>", "a test that must succeed before the branch is made; may be repeated", collect)
    .option("--verify-build <command>", "the same for a build, which comes first", collect)
    .option("--verify-lint <command>", "the same for a linter, which comes before tests", collect)
    .option("--no-verify", none);
}

/** The part of a request that these options make. */
export function verifyRequest({ verify, verifyBuild = [], verifyLint = [] }: VerifyOptions): Pick<CreateRunRequest, "verify"> {
  const commands = [
    ...verifyBuild.map((run) => ({ run, kind: "build" as const })),
    ...verifyLint.map((run) => ({ run, kind: "lint" as const })),
    ...(verify === false ? [] : (verify ?? [])).map((run) => ({ run, kind: "test" as const })),
  ];
  if (verify === false && commands.length > 0)
    throw new CliError("--no-verify stands beside a command that verifies.", {
      advice: "Leave one of them out: commands that are given take the place of those that there are.",
      exitCode: EXIT.usage,
    });
  return verify === false || commands.length > 0 ? { verify: commands } : {};
}

function collect(value: string, before?: unknown): string[] {
  if (value.trim() === "") throw new InvalidArgumentError("It names no command.");
  return [...(Array.isArray(before) ? (before as string[]) : []), value];
}
