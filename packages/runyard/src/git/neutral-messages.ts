import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { neutralMessage } from "../core/neutral-text.ts";
import { type CommitContent, readCommitContents } from "./commit-contents.ts";
import { GitError, type GitHost, runGitScript } from "./host-git.ts";
import { withLocks } from "./locks.ts";
import { requireObjectName, resultRef } from "./names.ts";

const TIMEOUT_MS = 10 * 60_000;
/** How much is gone through before others have their turn. */
const TURN_BYTES = 256 * 1024;

/** Stores new commits, and holds the last one: $1 cache, $2 ref, $3 its commit, $4 folder. */
const WRITE_SCRIPT = `for file in "$4"/new-*; do git --git-dir "$1" hash-object -t commit -w --stdin <"$file" >/dev/null || exit; done
git --git-dir "$1" update-ref --no-deref "$2" "$3"
`;

export interface MessagesOptions {
  readonly cachePath: string;
  readonly base: string;
  readonly head: string;
  readonly runId: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Takes mentions, references and closing keywords out of the messages of what a run made: GitHub acts on them once the commits
 * are there. Commits whose message has none stay what they are, up to the first that has one; a signature would not be of what
 * is there then, and goes. Gives the last commit, and how many messages were changed. Can be repeated: the same commits come out.
 */
export async function neutralizeMessages(
  host: GitHost,
  options: MessagesOptions,
): Promise<{ readonly head: string; readonly changed: number }> {
  const { cachePath, runId, signal } = options;
  const [base, head] = [requireObjectName(options.base), requireObjectName(options.head)];
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "messages-"));
  const run = async (script: string, words: readonly string[]): Promise<void> => {
    const args = ["rewrite-messages"];
    const result = await runGitScript(host, { script, words, args }, { signal, timeoutMs: TIMEOUT_MS });
    if (result.code !== 0) throw new GitError(args, result);
  };
  try {
    const commits = await readCommitContents(host, { cachePath, base, head, dir, signal });
    const { renewed, changed } = await renew(commits, head.length === 64 ? "sha256" : "sha1");
    const last = renewed.get(head);
    if (last === undefined) return { head, changed: 0 };
    let at = 0;
    for (const { content } of renewed.values())
      await writeFile(path.join(dir, `new-${String((at += 1)).padStart(8, "0")}`), content, { mode: 0o600 });
    const ref = resultRef(runId);
    await withLocks(cachePath, [ref], () => run(WRITE_SCRIPT, [cachePath, ref, last.name, dir]));
    return { head: last.name, changed };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** New commits in the place of those that say something else, or go on from one that does, by the names that they replace. */
async function renew(
  commits: readonly CommitContent[],
  algorithm: "sha1" | "sha256",
): Promise<{ readonly renewed: Map<string, CommitContent>; readonly changed: number }> {
  const renewed = new Map<string, CommitContent>();
  let changed = 0;
  let held = 0;
  for (const { name, content } of commits) {
    // What an agent has written, however much, does not keep everybody else waiting.
    if ((held += content.length) > TURN_BYTES) {
      held = 0;
      await setImmediate();
    }
    const text = content.toString("latin1");
    const cut = text.indexOf("\n\n");
    const [head, message] = cut === -1 ? [text.replace(/\n$/, ""), ""] : [text.slice(0, cut), text.slice(cut + 2)];
    const told = neutral(message);
    const isChanged = told !== message;
    const parents = head.replaceAll(/^parent (\w+)$/gm, (line, parent: string) => {
      const next = renewed.get(parent);
      return next === undefined ? line : `parent ${next.name}`;
    });
    if (!isChanged && parents === head) continue;
    if (isChanged) changed += 1;
    const unsigned = parents.replaceAll(/^gpgsig(?:-sha256)? .*(?:\n .*)*\n?/gm, "").replace(/\n$/, "");
    const next = Buffer.from(`${unsigned}\n\n${told}`, "latin1");
    renewed.set(name, { name: createHash(algorithm).update(`commit ${next.length}\0`).update(next).digest("hex"), content: next });
  }
  return { renewed, changed };
}

/** A message without references, byte for byte as it was else. In UTF-8 nothing of that is seen; in another encoding it is a space. */
function neutral(bytes: string): string {
  const utf8 = Buffer.from(bytes, "latin1");
  if (isUtf8(utf8)) return Buffer.from(neutralMessage(utf8.toString())).toString("latin1");
  return neutralMessage(bytes).replaceAll("\u200b", " ");
}
