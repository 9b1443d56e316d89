import { harmless } from "../git/commit-result.ts";
import { type ImportedResult, isTakenBack, mergeWithFilesOf, unresolvedFiles } from "../git/publish.ts";
import type { RunRow } from "../store/run-row.ts";
import { branchBase, mergeInHand } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { RunFailure } from "./run-handle.ts";

const MAX_NAMED_FILES = 10;

/**
 * Makes the merge of what an agent made of one with conflicts: one commit upon both sides. It is looked at here, by objects of the
 * cache alone, whether each of them was resolved. Throws RunFailure `merge-failed`, and nobody has anything of it then.
 */
export async function concludeMerge(
  ctx: RunnerContext,
  row: RunRow,
  { imported, cachePath, end }: { readonly imported: ImportedResult; readonly cachePath: string; readonly end: AbortSignal },
): Promise<ImportedResult> {
  const merge = mergeInHand(row);
  if (merge === null) return imported;
  const { from: ours, head: merged, conflicts: files } = merge;
  // Where every file was taken as git had left it, there is no further commit.
  const head = imported.head ?? merged;
  const theirs = branchBase(row);
  const place = { cachePath, ours, theirs, head, signal: end };
  const look = { ...place, merged, files, unmerged: imported.unmerged };
  const unresolved = await unresolvedFiles(ctx.git, look);
  if (unresolved.length > 0) throw notResolved(row, `there are conflicts left in ${named(unresolved)}`);
  if (await isTakenBack(ctx.git, look)) throw notResolved(row, "the agent took the merge back");
  return { ...imported, head: await mergeWithFilesOf(ctx.git, { ...place, runId: row.id }) };
}

function named(files: readonly string[]): string {
  const more = files.length - MAX_NAMED_FILES;
  return `${files.slice(0, MAX_NAMED_FILES).map(harmless).join(", ")}${more > 0 ? ` and ${more} more files` : ""}`;
}

function notResolved(row: RunRow, why: string): RunFailure {
  const branch = row.carry?.rebase?.branch ?? "";
  const message = `The merge with ${branch} was not finished: ${why}. Nothing was published, and the run's branch is as it was. \`runyard continue ${row.id} --rebase\` begins the merge anew.`;
  return new RunFailure({ type: "merge-failed", message });
}
