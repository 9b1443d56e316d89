import { isUtf8 } from "node:buffer";
import { neutralIdentity, neutralMessage } from "../core/neutral-text.ts";
import type { GitHost } from "./host-git.ts";
import { rewriteCommits, type RewriteOptions } from "./rewrite-commits.ts";

export interface MessagesOptions extends Omit<RewriteOptions, "onto"> {
  /** Lines of messages that say what is true of this run, and stay: `Co-authored-by: …`. */
  readonly claims: readonly string[];
}

/**
 * Takes mentions, references, closing keywords and claims (`Signed-off-by`) out of the messages of what a run made: GitHub acts on them once the commits
 * are there. Gives the last commit, and how many messages were changed; else as `rewriteCommits`.
 */
export function neutralizeMessages(
  host: GitHost,
  { claims, ...options }: MessagesOptions,
): Promise<{ readonly head: string; readonly changed: number }> {
  return rewriteCommits(host, options, ({ head, rest }) => ({
    head: head.replaceAll(/^(?:author|committer) .*$/gm, (line) => neutral(line, neutralIdentity)),
    rest: rest.slice(0, 1) + neutral(rest.slice(1), (shown, how) => neutralMessage(shown, { ...how, claims })),
  }));
}

/** A message or a line, changed where it must be and byte for byte as it was else. In UTF-8 nothing of that is seen; in another encoding it is a space. */
function neutral(bytes: string, change: (text: string, options: { readonly isBytes: boolean }) => string): string {
  const utf8 = Buffer.from(bytes, "latin1");
  if (isUtf8(utf8)) return Buffer.from(change(utf8.toString(), { isBytes: false })).toString("latin1");
  return change(bytes, { isBytes: true }).replaceAll("\u200b", " ");
}
