import type { CommitAuthor } from "@runyard/sdk/contract";
import { COMMIT_SCRIPT } from "./commit-script.ts";
import { requireBranchName, requireObjectName } from "./names.ts";

/** One word of a command may have 128 KiB on Linux. */
const MAX_MESSAGE_BYTES = 64 * 1024;

export interface CommitOptions {
  /** The workspace, as seen where the command runs. */
  readonly workspace: string;
  /** The commit that the run started from. */
  readonly commit: string;
  readonly branch: string;
  /** The commit's whole message, trailers included. */
  readonly message: string;
  /** Who the commit is by; default: Runyard. */
  readonly author?: CommitAuthor | undefined;
  /** A directory that the command may write, as seen where it runs. */
  readonly resultsDir: string;
  /** The cache of `updateCache`, as seen where the command runs; it may be read-only. */
  readonly cachePath: string;
}

function messageWord(message: string): string {
  const bytes = Buffer.from(message.replaceAll("\0", ""));
  const cut =
    bytes.length > MAX_MESSAGE_BYTES ? new TextDecoder().decode(bytes.subarray(0, MAX_MESSAGE_BYTES), { stream: true }) : bytes.toString();
  return cut.trim() === "" ? "Changes of an agent\n" : `${cut.trimEnd()}\n`;
}

/** `history`: whether the agent's own repository may be read, which is for sandboxes only; `merge`: no commits of it, but what it has unmerged. */
export function commitWords(options: CommitOptions, history: "yes" | "no" | "merge"): string[] {
  const { workspace, commit, branch, message, resultsDir, cachePath, author } = options;
  const words = [cachePath, workspace, requireObjectName(commit), requireBranchName(branch), resultsDir, messageWord(message), history];
  const by = [author?.name ?? "", author?.email ?? ""];
  return ["/bin/sh", "-c", COMMIT_SCRIPT, "sh", ...words, ...by];
}

/**
 * The words of a command that commits what an agent left in a workspace and writes `result.json` and, if
 * anything changed, `result.bundle` to `resultsDir`. Runs inside the sandbox, without a network; never run
 * it outside of one. Can be repeated.
 */
export function commitArgv(options: CommitOptions, history: "yes" | "merge" = "yes"): string[] {
  return commitWords(options, history);
}
