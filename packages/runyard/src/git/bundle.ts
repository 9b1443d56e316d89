import { mkdir, mkdtemp, open, rm, stat } from "node:fs/promises";
import path from "node:path";
import { withQuarantine } from "./bare-repository.ts";
import { type CommitPair, TIMEOUT_MS } from "./diff.ts";
import { git, type GitHost } from "./host-git.ts";
import { requireBranchName, requireObjectName } from "./names.ts";

const PIECE_BYTES = 256 * 1024;

/** A bundle, whose pieces can be read once. */
export interface OpenBundle {
  /** In bytes. */
  readonly size: number;
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

/**
 * The commits behind `base` up to `head` as a bundle with one branch, as `git fetch` takes it: the very same objects.
 * Nothing of it is left on the disk, whether its pieces are read or not. `tooLarge`: how large it would be, in bytes.
 */
export async function bundleOf(
  host: GitHost,
  options: CommitPair & { readonly branch: string; readonly maxBytes: number },
): Promise<OpenBundle | { readonly tooLarge: number }> {
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
    const { size } = await stat(file);
    if (size > options.maxBytes) return { tooLarge: size };
    const handle = await open(file, "r");
    return { size, bytes: piecesOf(handle) };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function* piecesOf(handle: Awaited<ReturnType<typeof open>>): AsyncGenerator<Uint8Array, void> {
  try {
    for (let at = 0; ;) {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
