import { mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import type { ChangedFile } from "@runyard/sdk/contract";
import { type CommitPair, diffWords, readHead, TIMEOUT_MS } from "./diff.ts";
import { git, type GitHost } from "./host-git.ts";
import { listFilesArgs, parseListedFiles } from "./listed-files.ts";

/** Most bytes of paths in the arguments of one command. */
const MAX_PATH_BYTES = 64 * 1024;

/** A changed file, and into how many pieces a diff splits it. */
interface Entry {
  readonly file: ChangedFile;
  /** A file that became something else (a link, say) is removed and added again. */
  readonly pieces: 1 | 2;
}

/**
 * The files that differ between two commits, in the order of their paths, with their lines and sizes. Names
 * that are not UTF-8 come with replacement characters.
 */
export async function changedFiles(host: GitHost, pair: CommitPair): Promise<ChangedFile[]> {
  return (await changedEntries(host, pair)).map(({ file }) => file);
}

export interface FileDiff extends ChangedFile {
  /** From the first `@@` on; null for a binary file, and where the change is longer than what is shown. */
  readonly hunks: string | null;
}

/** The same with the hunks of each file as text. Files behind the first `maxBytes` of the whole diff have none: `truncated`. */
export async function diffFiles(
  host: GitHost,
  options: CommitPair & { readonly maxBytes: number },
): Promise<{ files: FileDiff[]; truncated: boolean }> {
  const entries = await changedEntries(host, options);
  const { pieces, truncated } = await readPieces(host, options);
  let next = 0;
  const files = entries.map(({ file, pieces: count }) => {
    const mine = pieces.slice(next, (next += count));
    const isWhole = mine.length === count;
    return { ...file, hunks: file.insertions === null || !isWhole ? null : mine.map(hunksOf).join("") };
  });
  return { files, truncated };
}

async function changedEntries(host: GitHost, pair: CommitPair): Promise<Entry[]> {
  const text = await git(host, diffWords(pair, ["--raw", "--numstat", "--no-abbrev", "-z"]), { timeoutMs: TIMEOUT_MS });
  const entries = parseChanges(text);
  const paths = entries.flatMap(({ file }) => (file.status === "deleted" ? [] : [file.path]));
  const sizes = await fileSizes(host, { ...pair, paths });
  return entries.map(({ file, pieces }) => ({ file: { ...file, size: sizes.get(file.path) ?? null }, pieces }));
}

/** Reads `--raw --numstat -z`: the kinds of all changes, and then the lines of all changes, in the same order. */
function parseChanges(text: string): Entry[] {
  const words = text.split("\0");
  const kinds: { letter: string; previousPath: string | null; path: string }[] = [];
  let at = 0;
  while (words[at]?.startsWith(":")) {
    const letter = (words[at++] ?? "").split(" ")[4]?.[0] ?? "";
    const first = words[at++] ?? "";
    kinds.push(letter === "R" ? { letter, previousPath: first, path: words[at++] ?? "" } : { letter, previousPath: null, path: first });
  }
  return kinds.map(({ letter, previousPath, path: file }) => {
    const [insertions = "", deletions = ""] = (words[at++] ?? "").split("\t");
    if (previousPath !== null) at += 2;
    const lines = { insertions: lineCount(insertions), deletions: lineCount(deletions) };
    return { file: { path: file, previousPath, status: statusOf(letter), ...lines, size: null }, pieces: letter === "T" ? 2 : 1 };
  });
}

function statusOf(letter: string): ChangedFile["status"] {
  if (letter === "A") return "added";
  if (letter === "D") return "deleted";
  return letter === "R" ? "renamed" : "modified";
}

/** A binary file has `-`. */
function lineCount(word: string): number | null {
  return /^\d+$/.test(word) ? Number(word) : null;
}

/** Bytes of files in `head`; what is no file has none. */
async function fileSizes(host: GitHost, options: CommitPair & { readonly paths: readonly string[] }): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const paths of chunks(options.paths)) {
    const words = listFilesArgs(options.cachePath, options.head, paths);
    const listed = await git(host, words, { timeoutMs: TIMEOUT_MS, env: { GIT_LITERAL_PATHSPECS: "1" } });
    for (const file of parseListedFiles(listed)) sizes.set(file.path, file.size);
  }
  return sizes;
}

function chunks(paths: readonly string[]): string[][] {
  const all: string[][] = [];
  let bytes = MAX_PATH_BYTES;
  for (const one of paths) {
    bytes += Buffer.byteLength(one) + 1;
    if (bytes > MAX_PATH_BYTES) {
      all.push([]);
      bytes = Buffer.byteLength(one) + 1;
    }
    all.at(-1)?.push(one);
  }
  return all;
}

/** The diff's text, one piece for each `diff --git`; the last one is left out where it was cut. */
async function readPieces(
  host: GitHost,
  options: CommitPair & { readonly maxBytes: number },
): Promise<{ pieces: string[]; truncated: boolean }> {
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "diff-"));
  const file = path.join(dir, "diff");
  try {
    await git(host, diffWords(options, ["--patch", `--output=${file}`]), { timeoutMs: TIMEOUT_MS });
    const { bytes, size } = await readHead(file, options.maxBytes);
    const text = bytes.toString();
    const pieces = text === "" ? [] : text.split(/^(?=diff --git )/m);
    const truncated = size > options.maxBytes;
    return { pieces: truncated ? pieces.slice(0, -1) : pieces, truncated };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Lines of content begin with a space, a sign or a backslash, so the first `@@` is where they begin. */
function hunksOf(piece: string): string {
  const start = piece.indexOf("\n@@ ");
  return start === -1 ? "" : piece.slice(start + 1);
}
