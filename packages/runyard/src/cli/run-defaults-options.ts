import { agentNameSchema, type ChangeRepositoryRequest, type Repository, type Run, savedAgentIdSchema } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError } from "commander";
import { addVerifyOptions, type VerifyOptions, verifyRequest } from "./verify-options.ts";

/** What options say of what a repository gives to runs that do not say it themselves. */
export interface RunDefaultsOptions extends VerifyOptions {
  /** False: none any more, here and below. */
  readonly branch?: string | false;
  readonly agent?: string | false;
}

export function addRunDefaultsOptions(command: Command): Command {
  command
    .option("--branch <name>", "the branch that its runs start from, and that their pull requests go to")
    .option("--no-branch", "they start from its HEAD, or the default branch of a URL")
    .option("--agent <name>", "the agent that they get: a profile, or a saved one by its name or id", parseAgent)
    .option("--no-agent", "they get the profile builtin");
  return addVerifyOptions(command, "nothing is verified, unless runs say so");
}

/** The part of a change that these options make. */
export function runDefaultsRequest({
  branch,
  agent,
  ...verify
}: RunDefaultsOptions): Pick<ChangeRepositoryRequest, "branch" | "verify" | "agent"> {
  return {
    ...(branch !== undefined && { branch: branch === false ? null : branch }),
    ...(agent !== undefined && { agent: agent === false ? null : agent }),
    ...verifyRequest(verify),
  };
}

type Row = (name: string, text: string) => string;

/** Lines for people; nothing by servers that do not know of it. */
export function renderRunDefaults({ branch, agent, verify }: Partial<Repository>, row: Row): string[] {
  return [
    ...(branch == null ? [] : [row("branch", `${branch}, unless runs name one`)]),
    ...(agent == null ? [] : [row("agent", `${agent}, unless runs name one`)]),
    ...(verify == null ? [] : [row("verify", `${verifyWords(verify)}, unless runs say otherwise`)]),
  ];
}

/** What its repository gave to a run; nothing by servers that do not tell. */
export function renderGivenFrom({ branch, agent, verify = [], givenFrom = {} }: Partial<Run>, row: Row): string[] {
  const parts = [
    ...(givenFrom.branch === "repository" ? [`branch ${branch ?? ""}`] : []),
    ...(givenFrom.agent === "repository" ? [`agent ${agent?.name ?? agent?.profile ?? ""}`] : []),
    ...(givenFrom.verify === "repository" ? [`verify ${verifyWords(verify)}`] : []),
  ];
  return parts.length === 0 ? [] : [row("given", parts.map((part) => `${part} (repository)`).join(", "))];
}

function verifyWords(verify: Run["verify"]): string {
  return verify.map(({ run, kind }) => `${run} (${kind})`).join("; ");
}

function parseAgent(value: string): string {
  if (agentNameSchema.safeParse(value).success || savedAgentIdSchema.safeParse(value).success) return value;
  throw new InvalidArgumentError("It must be the name of a profile or of a saved agent, or the id of a saved one.");
}
