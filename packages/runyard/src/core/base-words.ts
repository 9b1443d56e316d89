import type { BaseOutcome } from "@runyard/sdk/contract";

/** What an agent is told whose base branch was brought in. */
export interface BroughtBase {
  readonly branch: string;
  readonly outcome: BaseOutcome;
  /** Files that conflict, as paths from the top of the repository. */
  readonly conflicts: readonly string[];
}

/** The prompt of a turn that brought in its base: what it finds in its files, then its task; null: it has none. */
export function baseWords({ branch, outcome, conflicts }: BroughtBase, task: string | null): string {
  const parts = [...(outcome === "nothing" ? [] : [foundWords(branch, conflicts)]), ...(task === null ? [] : [task])];
  return parts.join(conflicts.length > 0 ? "\n\nWhen that is done:\n\n" : "\n\n");
}

function foundWords(branch: string, conflicts: readonly string[]): string {
  if (conflicts.length === 0)
    return `What is on ${branch} by now was brought into your working directory: files may differ from what you remember.`;
  const files = conflicts.map((file) => `- ${file}`).join("\n");
  return `What is on ${branch} by now is being merged into your working directory, and these files conflict:

${files}

Between their conflict markers, HEAD is what you have made, and origin/${branch} is what came from ${branch}. Resolve each of them so that what both sides wanted is kept. No conflict marker may be left. Then stage it with git add, or with git rm where it is to be gone; a file without markers, which one side removed or which is binary, needs that as well. Do not abort the merge. You need not commit it.`;
}
