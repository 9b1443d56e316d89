import type { GitHost } from "./host-git.ts";
import { rewriteCommits, type RewriteOptions } from "./rewrite-commits.ts";

export interface SignOptions extends RewriteOptions {
  /** Signs the content of a commit, in armour. */
  readonly sign: (content: Buffer) => string;
}

/**
 * Makes the commits of a run anew, the same but signed, and returns the last one; else as `rewriteCommits`. No program that knows the
 * key is started, and nothing of it is written anywhere.
 */
export async function signCommits(host: GitHost, { sign, ...options }: SignOptions): Promise<string> {
  const header = options.head.length === 64 ? "gpgsig-sha256" : "gpgsig";
  const { head: last } = await rewriteCommits(host, options, ({ head, rest }) => {
    const lines = sign(Buffer.from(head + rest, "latin1"))
      .trimEnd()
      .split("\n");
    return { head: `${head}${header} ${lines.join("\n ")}\n`, rest };
  });
  return last;
}
