import { mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { withQuarantine } from "./bare-repository.ts";
import { type CommitPair, TIMEOUT_MS } from "./diff.ts";
import { git, type GitHost } from "./host-git.ts";
import { type MadeFile, openMadeFile } from "./made-file.ts";
import { requireBranchName, requireObjectName } from "./names.ts";

/**
 * The commits behind `base` up to `head` as a bundle with one branch, as `git fetch` takes it: the very same objects.
 * Nothing of it is left on the disk, whether its pieces are read or not. `tooLarge`: how large it would be, in bytes.
 */
export async function bundleOf(
  host: GitHost,
  options: CommitPair & { readonly branch: string; readonly maxBytes: number },
): Promise<MadeFile | { readonly tooLarge: number }> {
  const [base, head] = [requireObjectName(options.base), requireObjectName(options.head)];
  const ref = `refs/heads/${requireBranchName(options.branch)}`;
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "bundle-"));
  const file = path.join(dir, "result.bundle");
  try {
    // A bundle names refs, and in the cache no branch is to be made.
    await withQuarantine(host, { lender: options.cachePath, example: base }, async (quarantine) => {
      const inside = ["--git-dir", quarantine];
      await git(host, [...inside, "update-ref", ref, head]);
      await git(host, [...inside, "bundle", "create", "--quiet", file, ref, `^${base}`], { timeoutMs: TIMEOUT_MS });
    });
    return await openMadeFile(file, options.maxBytes);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
