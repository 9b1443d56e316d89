import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import path from "node:path";
import { git, type GitHost } from "./host-git.ts";
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

/** A patch that was too long: the whole files that fit, and a last line that says so, which `git apply` passes over. */
function cutPatch(head: Buffer, size: number): Uint8Array<ArrayBuffer> {
  const end = head.lastIndexOf("\ndiff --git ");
  return Buffer.concat([head.subarray(0, end + 1), Buffer.from(`# Cut here: the whole patch has ${size} bytes.\n`)]);
}

/**
 * The change between two commits as `git apply` takes it, byte for byte, binary files included. A patch of more than
 * `maxBytes` ends after its last whole file that fits, with a line that says so.
 */
export async function patch(host: GitHost, options: CommitPair & { readonly maxBytes: number }): Promise<Uint8Array<ArrayBuffer>> {
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "patch-"));
  const file = path.join(dir, "patch");
  try {
    await git(host, diffWords(options, ["--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", `--output=${file}`]), {
      timeoutMs: TIMEOUT_MS,
    });
    const { bytes, size } = await readHead(file, options.maxBytes);
    return size > options.maxBytes ? cutPatch(bytes, size) : bytes;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
