import { RunyardError } from "@runyard/sdk/contract";
import type { Carry, RunRow } from "../store/run-row.ts";
import type { EngineOptions } from "./engine.ts";

/** What a turn is asked that is only to bring in its base branch. */
export function rebasePrompt(branch: string): string {
  return `Bring the branch up to date with ${branch}`;
}

/**
 * Looks at what a run's base branch is by now, for a turn that is to bring it in. Throws RunyardError `rebase_not_possible`
 * where the run is one that cannot do that, and `repository_not_usable` where the branch is not there any more.
 */
export async function lookAtBase(
  options: Pick<EngineOptions, "inspectRepository">,
  run: RunRow,
  { plans, hasTask }: { readonly plans: boolean; readonly hasTask: boolean },
): Promise<NonNullable<Carry["rebase"]>> {
  const { id, branch, org_id: orgId, repository_url: url } = run;
  const refused = (message: string): RunyardError => new RunyardError("rebase_not_possible", message);
  if (run.spec.review !== undefined) throw refused(`Run ${id} reviews a pull request, and has no branch that could be brought up to date.`);
  if (branch === null)
    throw refused(`Run ${id} began from no branch (detached head), so there is nothing that it could be brought up to date with.`);
  if ((run.spec.repositories ?? []).length > 0)
    throw refused(
      `Run ${id} has further repositories, and the base is brought into none or all of them, which is not done yet. Merge ${branch} into its branch by hand, or give the task to a new run.`,
    );
  if (plans)
    throw refused(
      "Its turn would make a plan first, of files that are not the ones that it works on then. Continue with no plan (`--no-plan`, `plan: false`) to bring in the base, and ask for the plan in the turn after that.",
    );
  const { commit } = await options.inspectRepository(url, branch, orgId);
  return { branch, commit, hasTask };
}
