import { pathOfRepository } from "../core/prompt.ts";
import { changedBetween } from "../git/changed-between.ts";
import { commitTree } from "./commit-workspace.ts";
import type { RunnerContext } from "./context.ts";
import { repositoryResults, repositoryToCommit } from "./publish-further.ts";
import { furtherOf } from "./repository-places.ts";
import type { RunHandle } from "./run-handle.ts";

/** Folders with a result of the commit step, by the name of the repository. */
type Looks = ReadonlyMap<string, string>;

/** Commits what is in the further repositories that can be changed, for comparison only. */
export async function lookAtFurther(
  ctx: RunnerContext,
  { row, secrets }: RunHandle,
  options: { readonly name: "plan-before" | "plan-after"; readonly end: AbortSignal },
): Promise<Looks> {
  const looks = new Map<string, string>();
  for (const [index, repository] of furtherOf(row).entries()) {
    if (repository.access === "read") continue;
    const step = {
      name: `${options.name}-repository-${index}`,
      resultsDir: repositoryResults(ctx, row, repository.name, options.name),
      redactor: secrets.redactor,
      end: options.end,
    } as const;
    looks.set(repository.name, await commitTree(ctx, row, { ...repositoryToCommit(ctx, row, repository), ...step }));
  }
  return looks;
}

/** Files in which they differ, as the agent finds them; without `before`, those in which they differ from what they began with. */
export async function writtenInFurther(
  ctx: RunnerContext,
  { row }: RunHandle,
  { before, after }: { readonly before: Looks | null; readonly after: Looks },
): Promise<string[]> {
  const written: string[] = [];
  for (const repository of furtherOf(row)) {
    const { name } = repository;
    const result = after.get(name);
    if (result === undefined) continue;
    const { cachePath, base } = repositoryToCommit(ctx, row, repository);
    const files = await changedBetween(ctx.git, { cachePath, base, before: before?.get(name) ?? null, after: result });
    written.push(...files.map((file) => `${pathOfRepository(name)}/${file}`));
  }
  return written;
}
