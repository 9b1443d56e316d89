import { type ImportedResult, neutralizeMessages, type SecretsInResultError } from "../git/publish.ts";
import { publishOf, type RunRow } from "../store/run-row.ts";
import { commitClaims } from "./commit-workspace.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { writtenIn } from "./overlay-workspace.ts";
import { RunFailure } from "./run-handle.ts";

/** Of a result that goes into a pull request, where what a commit says has effects. */
export async function withNeutralMessages(
  ctx: RunnerContext,
  row: RunRow,
  { imported, cachePath, base }: { readonly imported: ImportedResult; readonly cachePath: string; readonly base: string },
): Promise<ImportedResult> {
  const { head, notices } = imported;
  if (head === null || publishOf(row) !== "pull_request" || row.spec.pullRequest?.allowReferences === true) return imported;
  const { head: last, changed } = await neutralizeMessages(ctx.git, { cachePath, base, head, runId: row.id, claims: commitClaims(row) });
  if (changed === 0) return imported;
  const message = `The messages of ${changed === 1 ? "one commit" : `${changed} commits`} mentioned, referred to or claimed something, or asked for no checks, and were changed so that they do not (--allow-references lets them be).`;
  return { ...imported, head: last, notices: [...notices, { code: "commit-messages-changed", message }] };
}

/** Why a result with secrets of its run in it is kept back. */
export function secretsFailure(ctx: RunnerContext, row: RunRow, found: SecretsInResultError): RunFailure {
  const workspace = writtenIn(attemptDirs(ctx.home, row));
  const message = `The result holds what the run was given as a secret: ${found.message}. Nothing was published; what the agent left is in ${workspace}. Tell the agent to take it out of its files, and out of the commits that it made itself, with \`runyard continue\`; and replace the secret if somebody may have seen it.`;
  return new RunFailure({ type: "policy-violation", message });
}
