import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import path from "node:path";
import { git, type GitHost } from "./host-git.ts";
import { type MadeFile, openMadeFile } from "./made-file.ts";
import { requireObjectName } from "./names.ts";

/** Two commits of a cache. */
export interface CommitPair {
  readonly cachePath: string;
  readonly base: string;
  readonly head: string;
}

export interface DiffStat {
  readonly filesChanged: number;
  readonly insertions: number;
  readonly deletions: number;
}

/** No program of anybody's, no colours, and the same form whatever is configured. */
const PLAIN = ["--no-ext-diff", "--no-textconv", "--no-color", "--find-renames", "--ignore-submodules=none", "--submodule=short"];
export const TIMEOUT_MS = 5 * 60_000;

/** The words of `git diff` between two commits. */
export function diffWords(pair: CommitPair, words: readonly string[]): string[] {
  return ["--git-dir", pair.cachePath, "diff", ...PLAIN, ...words, requireObjectName(pair.base), requireObjectName(pair.head), "--"];
}

/** Counts files and lines between two commits. Binary files count as files without lines. */
export async function diffStat(host: GitHost, pair: CommitPair): Promise<DiffStat> {
  const summary = await git(host, diffWords(pair, ["--shortstat"]), { timeoutMs: TIMEOUT_MS });
  const figure = (pattern: RegExp): number => Number(pattern.exec(summary)?.[1] ?? 0);
  return { filesChanged: figure(/(\d+) files? changed/), insertions: figure(/(\d+) insertion/), deletions: figure(/(\d+) deletion/) };
}

/** The first bytes of a file, and how many it has. */
export async function readHead(file: string, maxBytes: number): Promise<{ bytes: Buffer<ArrayBuffer>; size: number }> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(Math.min(size, maxBytes));
    await handle.read(bytes, 0, bytes.length, 0);
    return { bytes, size };
  } finally {
    await handle.close();
  }
}

/**
 * The change between two commits as `git apply` takes it, byte for byte, binary files included. Nothing of it is left on the
 * disk, whether its pieces are read or not. `tooLarge`: how many bytes it has, where they are more than `maxBytes`.
 */
export async function patch(
  host: GitHost,
  options: CommitPair & { readonly maxBytes: number },
): Promise<MadeFile | { readonly tooLarge: number }> {
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "patch-"));
  const file = path.join(dir, "patch");
  try {
    await git(host, diffWords(options, ["--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", `--output=${file}`]), {
      timeoutMs: TIMEOUT_MS,
    });
    return await openMadeFile(file, options.maxBytes);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
