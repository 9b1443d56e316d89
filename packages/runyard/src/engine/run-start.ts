import { type createRunSchema, RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";
import { type Given, giveDefaults } from "../core/run-defaults.ts";
import { readRunDefaults, type RunDefaults } from "../store/run-defaults.ts";
import type { EngineOptions, InspectedRepository } from "./engine.ts";
import { type ResolvedAgent, resolveAgent } from "./saved-agents.ts";

/** What a new run begins with, before its repository is looked at. */
export interface RunStart {
  /** Of what its organization and its repository say. */
  readonly defaults: RunDefaults;
  readonly given: Given;
  readonly agent: ResolvedAgent;
  /** Looks at the repository, at the branch that the run or its repository names. Throws RunyardError `repository_not_usable`. */
  readonly inspect: () => Promise<InspectedRepository>;
}

/** Finds a new run's repository, and what that gives to it. Throws RunyardError `repository_not_usable` and `unknown_agent`. */
export async function resolveStart(options: EngineOptions, orgId: string, input: z.output<typeof createRunSchema>): Promise<RunStart> {
  // Before git is asked for anything: a name of the run's own needs no repository to be refused.
  const own = await resolveAgent(options, orgId, input.agent);
  const found = await options.findRepository(input.repositoryUrl, input.branch, orgId);
  const defaults = await readRunDefaults(options.db, orgId, found.root);
  const given = giveDefaults(input, defaults.start);
  const { branch, agent: name } = given;
  const change = `runyard repositories ${found.root}`;
  const agent =
    name === null
      ? own
      : await explained(
          () => resolveAgent(options, orgId, { name }),
          `The run names no agent, and the settings of its repository name ${name}: change that with \`${change} --agent NAME\` or \`--no-agent\`, or name an agent for the run.`,
        );
  const inspect = (): Promise<InspectedRepository> =>
    branch === null
      ? found.inspect()
      : explained(
          () => found.inspect(branch),
          `The run names no branch, and the settings of its repository name ${branch}: change that with \`${change} --branch NAME\` or \`--no-branch\`, or name a branch for the run.`,
        );
  return { defaults, given, agent, inspect };
}

/** Does what takes a name that is not the run's own; where it is refused, whose it is is said. What has another cause is not about the name. */
async function explained<T>(work: () => Promise<T>, whose: string): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!RunyardError.is(error) || error.cause !== undefined) throw error;
    throw new RunyardError(error.code, `${error.message.replace(/\.$/, "")}. ${whose}`, { cause: error });
  }
}
