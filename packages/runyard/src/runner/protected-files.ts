import { MAX_PROTECTED_FILES, type ProtectedFile, type RunResult } from "@runyard/sdk/contract";
import { protectedFiles, protectedTitle } from "../core/protected-paths.ts";
import { harmless } from "../git/commit-result.ts";
import { differingFiles, touchedFiles } from "../git/touched-files.ts";
import type { Answerer } from "../store/answer-permission.ts";
import { approverOf, holdId } from "../store/holds.ts";
import { findProtectedPaths } from "../store/publishing.ts";
import type { RunRow } from "../store/run-row.ts";
import { type AttemptState, attemptState, branchBase, cachePathOf, stateWithoutAttempt } from "./attempt-state.ts";
import { carryLost } from "./carry-over.ts";
import type { RunnerContext } from "./context.ts";
import type { RunHandle } from "./run-handle.ts";

/** Whether a result may leave: by itself, because somebody approved it, or not (now): the run waits or has ended then. */
export type MayLeave = { readonly leaves: true; readonly approvedBy: Answerer | null } | { readonly leaves: false };

/**
 * Looks whether a result touches files that are protected, as the settings have it by now. One that may not leave ends the run;
 * one that needs a person's approval takes it out of hand until there is one. An approval is given for a commit: whoever
 * goes on with the run finds it again. Throws as `RunHandle.hold` does.
 */
export async function mayLeave(
  ctx: RunnerContext,
  handle: RunHandle,
  result: RunResult & { readonly headCommit: string },
): Promise<MayLeave> {
  const { row } = handle;
  const commit = result.headCommit;
  const files = await touchedByRun(ctx, row, commit);
  const touched = protectedFiles(files, await findProtectedPaths(ctx.db, row.org_id, row.repository_url));
  const refused = touched.filter(({ policy }) => policy === "refuse");
  if (refused.length > 0) {
    const message = `${protectedTitle(refused.map(shown))}. The policy is to refuse that, so nothing was published; \`runyard diff ${row.id}\` shows the change. Start another run that leaves them alone, or change the policy and use \`runyard continue\`.`;
    await handle.happen({ type: "broke", error: { type: "policy-violation", message } }, { change: { result } });
    return { leaves: false };
  }
  if (touched.length === 0) return { leaves: true, approvedBy: null };
  const id = holdId(row, commit);
  const approvedBy = await approverOf(ctx.db, row, id);
  if (approvedBy !== null) return { leaves: true, approvedBy };
  const title = protectedTitle(touched.map(shown));
  const named = touched.slice(0, MAX_PROTECTED_FILES).map(shown);
  await handle.hold({
    fact: { type: "held", hold: { approvalId: id, title, commit, files: named, count: touched.length } },
    hold: { id, request: { title, toolKind: null, files: named } },
    result,
    carry: carryLost(row),
    state: heldState(row),
  });
  return { leaves: false };
}

/**
 * Why a result in a further repository may not leave; null: it may. Nobody is asked there, where it takes a person's
 * approval it stays as well: a run waits for one approval, of its first repository.
 */
export async function whyItStays(
  ctx: RunnerContext,
  row: RunRow,
  made: { readonly repositoryUrl: string; readonly name: string; readonly cachePath: string; readonly base: string; readonly head: string },
): Promise<string | null> {
  const { repositoryUrl, name, ...commits } = made;
  const touched = protectedFiles(await touchedFiles(ctx.git, commits), await findProtectedPaths(ctx.db, row.org_id, repositoryUrl));
  if (touched.length === 0) return null;
  return `${protectedTitle(touched.map(shown))}. Nobody can approve that in a further repository, so nothing was published there; \`runyard diff ${row.id} --repository ${name}\` shows the change, which a person can take.`;
}

/** Names come from an agent's tree. */
function shown<T extends Pick<ProtectedFile, "path">>(file: T): T {
  return { ...file, path: harmless(file.path) };
}

/**
 * What a result touches. Of one into which the base was merged, what came from there is none of it: it is what the run touched on both sides of the
 * merge, and what is not as the base has it.
 */
async function touchedByRun(ctx: RunnerContext, row: RunRow, head: string): Promise<string[]> {
  const cachePath = cachePathOf(row);
  const { rebase, made } = attemptState(row);
  if (rebase === undefined || rebase.outcome === "nothing") return touchedFiles(ctx.git, { cachePath, base: publishedBefore(row), head });
  const base = branchBase(row);
  const merge = rebase.outcome === "conflicts" ? (made?.head ?? head) : rebase.head;
  const settled = await settledBefore(ctx, row, head);
  return [
    ...new Set([
      ...(await touchedFiles(ctx.git, { cachePath, base: publishedBefore(row), head: rebase.from })),
      ...(await touchedFiles(ctx.git, { cachePath, base: merge, head })),
      ...(await differingFiles(ctx.git, { cachePath, base, head })).filter((file) => !settled.has(file)),
    ]),
  ].toSorted();
}

/** What was looked at when it was published, and is as it was then, in what the run made and in the base that it was to go to. */
async function settledBefore(ctx: RunnerContext, row: RunRow, head: string): Promise<ReadonlySet<string>> {
  const { published } = row.carry ?? {};
  if (!published || publishedBefore(row) !== published.commit) return new Set();
  const [cachePath, commit, base] = [cachePathOf(row), published.commit, published.base ?? row.base_commit];
  const settled = new Set(await differingFiles(ctx.git, { cachePath, base, head: commit }));
  for (const moved of [
    { base: commit, head },
    { base, head: branchBase(row) },
  ])
    for (const file of await differingFiles(ctx.git, { cachePath, ...moved })) settled.delete(file);
  return settled;
}

/** What the repository has of the run: what came before was looked at when it was published. */
function publishedBefore(row: RunRow): string {
  const published = row.carry?.published?.commit;
  return published !== undefined && published === (attemptState(row).headLost === true ? null : row.carry?.head)
    ? published
    : (row.carry?.base ?? row.base_commit);
}

/** With what was made, the next attempt has nothing to do but to publish it. */
function heldState(row: RunRow): AttemptState {
  const { made, summary, sessionId, verify, repositories } = attemptState(row);
  return {
    ...stateWithoutAttempt(row),
    ...(made !== undefined && { made }),
    ...(summary !== undefined && { summary }),
    ...(sessionId !== undefined && { sessionId }),
    ...(verify !== undefined && { verify }),
    ...(repositories !== undefined && { repositories }),
  };
}
