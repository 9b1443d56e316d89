import { mkdirSync } from "node:fs";
import path from "node:path";
import { type FurtherRepository, type FurtherResult, type NewEvent, type RunResult, RunyardError } from "@runyard/sdk/contract";
import { findRepository } from "../git/local-repository.ts";
import { branchObstacle, diffStat, importResult, publishBranch, SecretsInResultError } from "../git/publish.ts";
import type { RunRow } from "../store/run-row.ts";
import { attemptState, repositoryHead, type RepositoryState, repositoryState } from "./attempt-state.ts";
import { type CommitPlace, commitTree } from "./commit-workspace.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, resultBranch } from "./directories.ts";
import { about, noteRepository } from "./prepare-further.ts";
import { furtherOf, repositoryDir, repositoryInside } from "./repository-places.ts";
import { whyItStays } from "./protected-files.ts";
import { triedAgain } from "./pushed.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";
import { signResult } from "./sign-result.ts";

/** Where the tree of a further repository is that the agent may have changed. Throws where it was not made yet. */
export function repositoryToCommit(ctx: RunnerContext, row: RunRow, { name, baseCommit }: FurtherRepository): CommitPlace {
  const workspace = repositoryDir(ctx, row, name);
  const inside = repositoryInside(ctx, row, workspace);
  const base = repositoryHead(row, name) ?? baseCommit;
  return { workspace, inside, cachePath: cacheOf(row, name), base, mounts: [{ source: workspace, target: inside, mode: "rw" }] };
}

function cacheOf(row: RunRow, name: string): string {
  const { cachePath } = repositoryState(row, name);
  if (cachePath === undefined) throw new Error(`Run ${row.id} has no workspace of ${name} yet`);
  return cachePath;
}

/** Where the steps of a further repository leave what they made. */
export function repositoryResults(ctx: RunnerContext, row: RunRow, name: string, step: string): string {
  const dir = path.join(attemptDirs(ctx.home, row).results, "repositories", name, step);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** Commits what the agent left in the run's further repositories, each of them once. Throws RunFailure. */
export async function commitFurther(ctx: RunnerContext, handle: RunHandle, end: AbortSignal): Promise<void> {
  for (const [index, repository] of furtherOf(handle.row).entries()) {
    const { name, access } = repository;
    const { row, secrets } = handle;
    if (access === "read" || repositoryState(row, name).made !== undefined) continue;
    const place = repositoryToCommit(ctx, row, repository);
    const { redactor } = secrets;
    const resultsDir = await commitTree(ctx, row, {
      ...place,
      name: `commit-repository-${index}`,
      resultsDir: repositoryResults(ctx, row, name, "commit"),
      redactor,
      end,
    });
    const { cachePath, base } = place;
    const imported = await importResult(ctx.git, { cachePath, resultsDir, base, runId: row.id, redactor }).catch((error: unknown) => {
      throw error instanceof SecretsInResultError ? notPublished(error, { name, workspace: place.workspace }) : error;
    });
    const events = imported.notices.map((notice): NewEvent => about(name, { type: "notice", data: { level: "warning", ...notice } }));
    const head = await signResult(ctx, handle.row, { head: imported.head, cachePath, base, end });
    await noteRepository(handle, name, { state: { made: { head } }, events });
  }
}

function notPublished(found: SecretsInResultError, { name, workspace }: { readonly name: string; readonly workspace: string }): RunFailure {
  const message = `The result in the repository ${name} holds what the run was given as a secret: ${found.message}. Nothing of the run was published; what the agent left is in ${workspace}. Tell the agent to take it out of its files, and out of the commits that it made itself, with \`runyard continue\`; and replace the secret if somebody may have seen it.`;
  return new RunFailure({ type: "policy-violation", message });
}

/** What came of the further repositories, for the run's result and its log. */
export interface FurtherPublished {
  readonly result: Pick<RunResult, "repositories">;
  readonly events: readonly NewEvent[];
}

/**
 * Makes branches of what was committed in the run's further repositories, unless they are not to have any. One that cannot be
 * made keeps no other from being made: its result says why. Can be repeated: what was made is not made again.
 */
export async function publishFurther(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly publishes: boolean; readonly end: AbortSignal },
): Promise<FurtherPublished> {
  const repositories: FurtherResult[] = [];
  for (const repository of furtherOf(handle.row)) {
    const { name, repositoryUrl, baseCommit } = repository;
    const figures = { filesChanged: 0, insertions: 0, deletions: 0 };
    const unchanged = { name, repositoryUrl, headBranch: null, headCommit: null, baseCommit, ...figures, problem: null };
    // A turn that changed nothing leaves what the turns before have made.
    const head = repositoryState(handle.row, name).made?.head ?? repositoryHead(handle.row, name);
    if (head === null) {
      repositories.push(unchanged);
      continue;
    }
    const stat = await diffStat(ctx.git, { cachePath: cacheOf(handle.row, name), base: baseCommit, head });
    const published = options.publishes ? await publishOne(ctx, handle, { repository, head, end: options.end }) : null;
    const branch = published === null ? {} : "branch" in published ? { headBranch: published.branch } : published;
    repositories.push({ ...unchanged, headCommit: head, ...stat, ...branch });
  }
  if (repositories.length === 0) return { result: {}, events: [] };
  const events = repositories.flatMap(({ name, problem }): NewEvent[] =>
    problem === null
      ? []
      : [{ type: "notice", data: { level: "warning", code: "repository-not-published", message: `${name}: ${problem}` } }],
  );
  return { result: { repositories }, events };
}

type Published = NonNullable<RepositoryState["published"]>;

async function publishOne(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly repository: FurtherRepository; readonly head: string; readonly end: AbortSignal },
): Promise<Published> {
  const { repository, head, end } = options;
  const { name, repositoryUrl } = repository;
  const known = repositoryState(handle.row, name).published;
  if (known !== undefined) return known;
  // As with the first one: whoever cannot say that the run is still this runner's gives nothing to anybody.
  await ctx.lease.whenHeld(end);
  await handle.commit({});
  const { row } = handle;
  const before = row.carry?.repositories?.[name]?.published ?? null;
  const onto = [before?.commit, repositoryHead(row, name)].filter((commit) => typeof commit === "string");
  const events: NewEvent[] = [];
  const publish = async (): Promise<Published> => {
    events.length = 0;
    const base = before !== null && before.commit === repositoryHead(row, name) ? before.commit : repository.baseCommit;
    const problem = await whyItStays(ctx, row, { repositoryUrl, name, cachePath: cacheOf(row, name), base, head });
    if (problem !== null) return { problem };
    const place = await findRepository(ctx.git, repositoryUrl);
    const wanted = before?.branch ?? resultBranch(row.id);
    const obstacle = onto.length === 0 ? null : await branchObstacle(ctx.git, { repository: place, head, branch: wanted, onto });
    const branch = obstacle === null ? wanted : `${resultBranch(row.id)}-${row.turn}`;
    if (obstacle !== null) events.push(branchInTheWay(name, { wanted, obstacle, branch }));
    await publishBranch(ctx.git, { repository: place, cachePath: cacheOf(row, name), head, branch, onto, signal: end });
    return { branch, commit: head };
  };
  const published = await triedAgain(publish, end).catch((error: unknown): Published => {
    if (!RunyardError.is(error) || end.aborted) throw error;
    return { problem: `${error.message}.` };
  });
  await noteRepository(handle, name, { state: { published }, events });
  return published;
}

function branchInTheWay(name: string, branches: { readonly wanted: string; readonly obstacle: string; readonly branch: string }): NewEvent {
  const { wanted, obstacle, branch } = branches;
  const message = `${name}: The branch ${wanted} is left as it is: ${obstacle}. The result of this turn is the branch ${branch}.`;
  return { type: "notice", data: { level: "warning", code: "branch-in-the-way", message } };
}

/** Whether all of a run's work is in the cache, and nothing in it keeps it back. */
function isCommitted(row: RunRow): boolean {
  const isMade = ({ name, access }: FurtherRepository): boolean => access === "read" || repositoryState(row, name).made !== undefined;
  return attemptState(row).made !== undefined && furtherOf(row).every(isMade);
}

/** The same error, where the first repository could not be given its branch, once the others have theirs: it says which. */
export async function withOthersPublished(
  ctx: RunnerContext,
  handle: RunHandle,
  options: { readonly error: unknown; readonly publishes: boolean; readonly end: AbortSignal },
): Promise<unknown> {
  const { error, publishes } = options;
  if (!publishes || !RunyardError.is(error) || error.code !== "repository_not_usable" || !isCommitted(handle.row)) return error;
  const { result, events } = await publishFurther(ctx, handle, options);
  if (events.length > 0) await handle.commit({ events });
  const kept = (result.repositories ?? []).flatMap(({ name, headBranch }) => (headBranch === null ? [] : [`${headBranch} in ${name}`]));
  if (kept.length === 0) return error;
  return new RunyardError(error.code, `${error.message}. The further repositories have theirs: ${kept.join(", ")}`, { cause: error });
}
