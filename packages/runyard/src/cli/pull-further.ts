import type { Run } from "@runyard/sdk/contract";
import { CliError, EXIT } from "./exit-codes.ts";

/**
 * What a run left in that of its further repositories in whose working tree one stands; null where one stands in none of them.
 * Throws where it left no branch there. `isHere`: whether one stands in the repository of a folder.
 */
export async function furtherHere(
  run: Run,
  isHere: (repositoryUrl: string) => Promise<boolean>,
): Promise<{ readonly branch: string; readonly commit: string } | null> {
  // Servers of earlier versions know of none.
  for (const { name, repositoryUrl } of (run as Partial<Run>).repositories ?? []) {
    if (!(await isHere(repositoryUrl))) continue;
    const { headBranch, headCommit, problem } = run.result?.repositories?.find((result) => result.name === name) ?? {};
    if (headBranch && headCommit) return { branch: headBranch, commit: headCommit };
    throw new CliError(`${run.id} left no branch in ${name}${problem ? `: ${problem}` : "."}`, {
      advice: headCommit
        ? `Take the change with: runyard diff ${run.id} --repository ${name} | git apply`
        : `See it with: runyard show ${run.id}`,
      exitCode: EXIT.refused,
    });
  }
  return null;
}
