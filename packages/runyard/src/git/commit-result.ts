import { constants } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { isObjectName } from "./names.ts";

/** Something about a run's result that its user should know. */
export interface ResultNotice {
  readonly code: string;
  readonly message: string;
}

const MAX_BYTES = 256 * 1024;

/** What each code of the commit script means; the names that belong to it are put behind. */
const MEANINGS = {
  "history-rewritten":
    "The agent rewrote the history that the run started from: its commits are left out, and its files are one commit on the commit that the run started from",
  "history-unreadable": "The agent's own commits could not be used: its files are one commit on the commit that the run started from",
  "commits-left-out": "The agent left commits that are not part of what it had checked out; they are not in the result",
  "commits-without-effect": "The agent made commits, but the files are the same as before: there is no result",
  "nested-repository": "The agent made repositories inside of the workspace: their files are in the result, their history is not",
  "nested-repository-left-out": "The agent made repositories inside of the workspace that could not be read: they are not in the result",
  "submodule-files-left-out": "The agent changed files inside of submodules: they are not in the result",
  "files-not-added": "Some files cannot be kept in git: they are not in the result",
  "encoding-ignored": "Some files are not in the encoding that .gitattributes claims: files with such an attribute are kept as they are",
} as const;
type NoticeCode = keyof typeof MEANINGS;

const noticeSchema = z.object({
  code: z.enum(Object.keys(MEANINGS) as [NoticeCode, ...NoticeCode[]]),
  count: z.int().min(0),
  details: z.array(z.string().max(1_000)).max(10),
});
const resultSchema = z.object({
  changed: z.boolean(),
  head: z.string().refine(isObjectName, "is not the name of a commit"),
  notices: z.array(noticeSchema).max(50),
  /** Files that the agent's repository has as unmerged, where that was asked for. */
  unmerged: z.array(z.string().max(5_000)).max(1_000).default([]),
});
/** `result.json`: what the commit script says about a workspace. */
export type CommitResult = z.infer<typeof resultSchema>;
export type CommitNotice = z.infer<typeof noticeSchema>;

/** Names come from an agent's tree: nothing in them may act on a terminal or reorder a line. */
export function harmless(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}

/** A sentence for people. */
export function noticeText(notice: CommitNotice): string {
  if (notice.details.length === 0) return MEANINGS[notice.code];
  const more = notice.count - notice.details.length;
  return `${MEANINGS[notice.code]}: ${notice.details.map(harmless).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** Reads a file that somebody else wrote: only a plain one, never through a link, and not more than `maxBytes`. */
async function readPlainFile(file: string, maxBytes: number): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = await handle.stat();
    if (!found.isFile() || found.size > maxBytes)
      throw new Error(`${path.basename(file)} is not a plain file of at most ${maxBytes} bytes`);
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/** Reads `result.json`, which is untrusted: throws a plain Error where it is missing or not what it must be. */
export async function readCommitResult(resultsDir: string): Promise<CommitResult> {
  try {
    return resultSchema.parse(JSON.parse(await readPlainFile(path.join(resultsDir, "result.json"), MAX_BYTES)));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new Error(`The result of the run cannot be read: ${reason}`, { cause: error });
  }
}

/** Adds what is known outside of the commit script. */
export async function addNotices(resultsDir: string, notices: readonly CommitNotice[]): Promise<void> {
  if (notices.length === 0) return;
  const result = await readCommitResult(resultsDir);
  await writeFile(path.join(resultsDir, "result.json"), JSON.stringify({ ...result, notices: [...result.notices, ...notices] }), {
    mode: 0o600,
  });
}
