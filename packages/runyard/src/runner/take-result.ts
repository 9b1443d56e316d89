import { type ImportedResult, importResult, neutralizeMessages, SecretsInResultError } from "../git/publish.ts";
import { publishOf, type RunRow } from "../store/run-row.ts";
import { commitClaims } from "./commit-workspace.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { writtenIn } from "./overlay-workspace.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";

/** Where what a run's workspace became is taken from, and into which cache. */
interface ResultPlace {
  readonly cachePath: string;
  readonly resultsDir: string;
  /** The commit that it was made upon. */
  readonly base: string;
}

/** Takes what was committed of a run's workspace into the cache, as others may see it. Throws RunFailure where secrets are in it. */
export async function takeResult(ctx: RunnerContext, { row, secrets }: RunHandle, place: ResultPlace): Promise<ImportedResult> {
  const { redactor } = secrets;
  const imported = await importResult(ctx.git, { ...place, runId: row.id, redactor }).catch((error: unknown) => {
    throw error instanceof SecretsInResultError ? secretsFailure(ctx, row, error) : error;
  });
  return withNeutralMessages(ctx, row, { ...place, imported });
}

/** Of a result that goes into a pull request, where what a commit says has effects. */
async function withNeutralMessages(
  ctx: RunnerContext,
  row: RunRow,
  { imported, cachePath, base }: Omit<ResultPlace, "resultsDir"> & { readonly imported: ImportedResult },
): Promise<ImportedResult> {
  const { head, notices } = imported;
  if (head === null || publishOf(row) !== "pull_request" || row.spec.pullRequest?.allowReferences === true) return imported;
  const { head: last, changed } = await neutralizeMessages(ctx.git, { cachePath, base, head, runId: row.id, claims: commitClaims(row) });
  if (changed === 0) return imported;
  const message = `The messages of ${changed === 1 ? "one commit" : `${changed} commits`} mentioned, referred to or claimed something, or asked for no checks, and were changed so that they do not (--allow-references lets them be).`;
  return { ...imported, head: last, notices: [...notices, { code: "commit-messages-changed", message }] };
}

/** Why a result with secrets of its run in it is kept back. */
function secretsFailure(ctx: RunnerContext, row: RunRow, found: SecretsInResultError): RunFailure {
  const workspace = writtenIn(attemptDirs(ctx.home, row));
  const message = `The result holds what the run was given as a secret: ${found.message}. Nothing was published; what the agent left is in ${workspace}. Tell the agent to take it out of its files, and out of the commits that it made itself, with \`runyard continue\`; and replace the secret if somebody may have seen it.`;
  return new RunFailure({ type: "policy-violation", message });
}
