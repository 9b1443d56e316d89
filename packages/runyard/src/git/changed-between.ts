import path from "node:path";
import { withQuarantine } from "./bare-repository.ts";
import { changedFiles } from "./changed-files.ts";
import { harmless, readCommitResult } from "./commit-result.ts";
import type { GitHost } from "./host-git.ts";
import { requireBundle, unpack } from "./import-result.ts";
import { requireObjectName } from "./names.ts";

/**
 * Paths, for people to read, of the files in which two results of the commit step differ; without the first one, those in which the
 * second differs from its base. The results are looked at in a quarantine: nothing of them stays.
 */
export async function changedBetween(
  host: GitHost,
  options: {
    readonly cachePath: string;
    readonly base: string;
    /** Folders with a result of the commit step. */
    readonly before: string | null;
    readonly after: string;
  },
): Promise<string[]> {
  const { cachePath, before, after } = options;
  const base = requireObjectName(options.base);
  return withQuarantine(host, { lender: cachePath, example: base }, async (quarantine) => {
    const headOf = async (resultsDir: string): Promise<string> => {
      const result = await readCommitResult(resultsDir);
      if (!result.changed) return base;
      const bundle = path.join(resultsDir, "result.bundle");
      await requireBundle(bundle);
      await unpack(host, quarantine, { bundle, base, head: result.head, signal: undefined });
      return result.head;
    };
    const from = before === null ? base : await headOf(before);
    const to = await headOf(after);
    if (from === to) return [];
    const files = await changedFiles(host, { cachePath: quarantine, base: from, head: to });
    return files.map((file) => harmless(file.path));
  });
}
