import type { RunyardClient } from "@runyard/sdk";
import type { Plan, Run } from "@runyard/sdk/contract";
import { InvalidArgumentError, Option } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";
import { findRunId } from "./run-reference.ts";

/** What one decides about: a run, and the version of its plan that one means. */
export interface OpenPlan {
  readonly runId: string;
  readonly plan: Plan;
}

export const versionOption = (): Option =>
  new Option("--version <n>", "the version that you have read (default: the newest one)").argParser(parseVersion);

function parseVersion(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError("It must be a plan's version: 1 or more.");
  return Number(value);
}

/**
 * The plan that is meant: the version that was named, or else the newest one as it stands now. Either way that
 * version, and no later one, is what is decided about.
 */
export async function findPlan(client: RunyardClient, name: string, version: number | undefined): Promise<OpenPlan> {
  const runId = await findRunId(client, name);
  const { data } = await client.runs.plan(runId);
  const plan = version === undefined ? data.at(-1) : data.find((one) => one.version === version);
  if (plan !== undefined) return { runId, plan };
  if (data.length > 0)
    throw new CliError(`${runId} has no plan ${version}.`, { advice: "`runyard plan <run> --all` shows them.", exitCode: EXIT.usage });
  const run = await client.runs.get(runId);
  throw new CliError(`${runId} has no plan that waits for a decision: it is ${run.status}.`, {
    ...(waitsForApproval(run) ? { advice: `It waits for an approval before it begins: runyard approve ${runId}` } : {}),
    ...(!waitsForApproval(run) && run.planFirst && run.finishedAt === null
      ? { advice: `It is still being made. Watch it with: runyard events ${runId}` }
      : {}),
    exitCode: EXIT.refused,
  });
}

/** Whether it waits for a person because of what it may cost. */
export function waitsForApproval(run: Run): boolean {
  return run.waitingFor.some(({ kind }) => kind === "approval");
}

/** Where the run goes from here. */
export function goesOn(run: Run): string {
  return run.finishedAt === null ? `The run is ${run.status}. Watch it with: runyard events ${run.id}` : `The run is ${run.status}.`;
}
