import type { NewEvent, PullRequest, RunResult } from "@runyard/sdk/contract";
import { findRepository, type RepositoryPlace } from "../git/local-repository.ts";
import { branchObstacle, diffStat, publishBranch } from "../git/publish.ts";
import { publishOf, type RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState, branchBase, cachePathOf, mergeInHand, turnHead } from "./attempt-state.ts";
import { commitWorkspace, turnBase } from "./commit-workspace.ts";
import { concludeMerge } from "./conclude-merge.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { finishPublished } from "./finish-published.ts";
import { mayLeave } from "./protected-files.ts";
import { seeToPullRequest } from "./pull-request.ts";
import { commitFurther, publishFurther } from "./publish-further.ts";
import { concludeReplay } from "./replay.ts";
import { pushed, type Published } from "./pushed.ts";
import { seeToReview } from "./review.ts";
import type { RunHandle } from "./run-handle.ts";
import { signResult } from "./sign-result.ts";
import { takeResult } from "./take-result.ts";

/**
 * Brings what the agent did into the user's repository: committed where the agent's tree cannot act on
 * the host, fetched as a bundle, and put there as a branch. A server that takes over in between goes on
 * with the commit that was made, and never makes another one.
 */
export async function publishResult(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  // What a replay made is there to be compared, and belongs to nobody.
  const publishes = handle.row.replay === null && publishOf(handle.row) !== "none";
  const { row } = handle;
  const cachePath = cachePathOf(row);
  const state = attemptState(row);
  const finding = findRepository(ctx.git, row.repository_url);
  // A repository that is gone keeps nobody from committing.
  finding.catch(() => undefined);
  const { head } = await makeCommits();
  const summary = state.summary ?? "";
  const figures = { filesChanged: 0, insertions: 0, deletions: 0 };
  const base = branchBase(row);
  const unchanged: RunResult = { summary, headBranch: null, headCommit: null, baseCommit: base, ...figures };
  // A turn that changed nothing leaves what the turns before have made; all of it may be in the base by now.
  const left = head ?? turnHead(row);
  const commit = left === base ? null : left;
  const diverged = await concludeReplay(ctx, handle, { status: "completed", head });
  if (commit === null) return finish(unchanged, diverged);
  const stat = await diffStat(ctx.git, { cachePath, base, head: commit });
  if (!publishes) return finish({ ...unchanged, headCommit: commit, ...stat }, diverged);
  // Held back before anybody has anything of it: no branch, no push, no pull request, in none of the repositories.
  const { result: further } = await publishFurther(ctx, handle, { publishes: false, end });
  const leaving = await mayLeave(ctx, handle, { ...unchanged, headCommit: commit, ...stat, ...further });
  if (!leaving.leaves) return;
  const { approvedBy } = leaving;
  const put = async (): Promise<Published> => {
    const repository = await finding;
    const chosen = await chooseBranch(ctx, row, { repository, head: commit });
    // Git knows nothing of owners: whoever cannot say that the run is still this runner's gives nothing to anybody.
    await ctx.lease.whenHeld(end);
    await handle.commit({});
    const { branch } = chosen;
    const { notices = [] } = await publishBranch(ctx.git, {
      repository,
      cachePath,
      head: commit,
      branch,
      onto: ourCommits(row),
      signal: end,
    });
    const told = notices.map((notice): NewEvent => ({ type: "notice", data: { level: "warning", ...notice } }));
    return { ...chosen, notices: [...chosen.notices, ...told] };
  };
  const { branch: headBranch, notices, problem: branchProblem } = await pushed(put, end);
  const result: RunResult = {
    ...unchanged,
    headBranch,
    ...(branchProblem && { branchProblem }),
    headCommit: commit,
    ...stat,
    ...(approvedBy !== null && { approvedBy }),
  };
  if (headBranch === null || publishOf(row) !== "pull_request") return finish(result, notices);
  const seen = await seeToPullRequest(ctx, handle, { made: { branch: headBranch, cachePath, head: commit, stat }, end });
  const { pullRequest, problem: pullRequestProblem } = seen;
  const withUrl = { ...result, pullRequestUrl: pullRequest?.url ?? null, pullRequestProblem };
  return finish(withUrl, [...notices, ...seen.events], pullRequest);

  async function finish(done: RunResult, events: readonly NewEvent[], opened?: PullRequest | null): Promise<void> {
    const others = await publishFurther(ctx, handle, { publishes, end });
    const review = await seeToReview(ctx, handle, end);
    await finishPublished(handle, {
      result: { ...done, ...others.result, ...review.result },
      pullRequest: opened ?? null,
      events: [...events, ...others.events, ...review.events],
    });
  }

  /** All of them before any is published: a secret in one of them keeps all back. */
  async function makeCommits(): Promise<{ head: string | null }> {
    const made = state.made ?? (await makeCommit());
    await commitFurther(ctx, handle, end);
    return made;
  }

  async function makeCommit(): Promise<{ head: string | null }> {
    const from = turnBase(row);
    const resultsDir = await commitWorkspace(ctx, row, {
      name: "commit",
      redactor: handle.secrets.redactor,
      resultsDir: attemptDirs(ctx.home, row).results,
      end,
    });
    const imported = await takeResult(ctx, handle, { cachePath, resultsDir, base: from });
    const taken = await concludeMerge(ctx, row, { imported, cachePath, end });
    const events: NewEvent[] = taken.notices.map((notice) => ({ type: "notice", data: { level: "warning", ...notice } }));
    // Last, so that it is of what is published.
    const merge = mergeInHand(row);
    const sides = merge === null ? { base: from } : { base: merge.from, onto: branchBase(row) };
    const made = { head: await signResult(ctx, handle.row, { head: taken.head, cachePath, ...sides, end }) };
    await handle.commit({ events, change: { state: { ...state, made } satisfies AttemptState } });
    return made;
  }
}

/** The commits of the turns before, on one of which the run's branch stands unless somebody moved it. */
function ourCommits(row: RunRow): string[] {
  return [row.carry?.published?.commit, row.carry?.head, turnHead(row)].filter((commit) => typeof commit === "string");
}

/** The run's branch; one of the turn's own where that cannot be moved on without taking something from its owner. */
async function chooseBranch(
  ctx: RunnerContext,
  row: RunRow,
  options: { readonly repository: RepositoryPlace; readonly head: string },
): Promise<Published & { readonly branch: string }> {
  const branch = row.carry?.published?.branch ?? resultBranch(row.id);
  const onto = ourCommits(row);
  if (onto.length === 0) return { branch, notices: [] };
  const obstacle = await branchObstacle(ctx.git, { ...options, branch, onto });
  if (obstacle === null) return { branch, notices: [] };
  const other = `${resultBranch(row.id)}-${row.turn}`;
  const message = `The branch ${branch} is left as it is: ${obstacle}. The result of this turn is the branch ${other}.`;
  return { branch: other, notices: [{ type: "notice", data: { level: "warning", code: "branch-in-the-way", message } }] };
}
