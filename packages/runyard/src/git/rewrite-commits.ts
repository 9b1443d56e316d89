import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { type CommitContent, readCommitContents } from "./commit-contents.ts";
import { git, GitError, type GitHost, runGitScript } from "./host-git.ts";
import { withLocks } from "./locks.ts";
import { requireObjectName, resultRef } from "./names.ts";

const TIMEOUT_MS = 10 * 60_000;
/** How much is gone through before others have their turn. */
const TURN_BYTES = 256 * 1024;

/** A commit without its signature, byte for byte in latin1: behind each other the two are what git stores. */
export interface CommitParts {
  /** Its lines before the message, each with its end. */
  readonly head: string;
  /** The empty line and the message; empty: it has none. */
  readonly rest: string;
}

export interface RewriteOptions {
  readonly cachePath: string;
  readonly runId: string;
  readonly base: string;
  readonly head: string;
  /** Another commit behind which they are: the other side of a merge. */
  readonly onto?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes the commits of a run behind `base` up to `head` anew in the cache, as `change` has them, and holds the last one for the run.
 * Those that it leaves as they are stay what they are, up to the first that it changes; a signature would not be of what is there
 * then, and goes. Gives the last commit, and how many were changed. Where `change` always does the same, it can be repeated. Throws GitError.
 */
export async function rewriteCommits(
  host: GitHost,
  options: RewriteOptions,
  change: (parts: CommitParts) => CommitParts,
): Promise<{ readonly head: string; readonly changed: number }> {
  const head = requireObjectName(options.head);
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "rewrite-"));
  try {
    const { renewed, changed } = await renew(await readCommitContents(host, { ...options, dir }), change);
    const last = renewed.get(head);
    if (last === undefined) return { head, changed: 0 };
    await store(host, options, { dir, commits: [...renewed.values()] });
    const { cachePath, signal } = options;
    const ref = resultRef(options.runId);
    await withLocks(cachePath, [ref], () => git(host, ["--git-dir", cachePath, "update-ref", "--no-deref", ref, last.name], { signal }));
    return { head: last.name, changed };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** New commits in the place of those that are changed, or go on from one that is, by the names that they replace. */
async function renew(
  commits: readonly CommitContent[],
  change: (parts: CommitParts) => CommitParts,
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
    const found = partsOf(content);
    const parents = found.head.replaceAll(/^parent (\w+)$/gm, (line, parent: string) => {
      const next = renewed.get(parent);
      return next === undefined ? line : `parent ${next.name}`;
    });
    const { head, rest } = change({ ...found, head: parents });
    const isChanged = head !== parents || rest !== found.rest;
    if (!isChanged && parents === found.head) continue;
    if (isChanged) changed += 1;
    const next = Buffer.from(head + rest, "latin1");
    const algorithm = name.length === 64 ? "sha256" : "sha1";
    renewed.set(name, { name: createHash(algorithm).update(`commit ${next.length}\0`).update(next).digest("hex"), content: next });
  }
  return { renewed, changed };
}

function partsOf(content: Buffer): CommitParts {
  const text = content.toString("latin1");
  const end = text.indexOf("\n\n");
  const head = end === -1 ? text : text.slice(0, end + 1);
  // A line that begins with a space goes on with the one before.
  return { head: head.replaceAll(/^gpgsig(?:-sha256)? .*\n(?: .*\n)*/gm, ""), rest: text.slice(head.length) };
}

async function store(
  host: GitHost,
  { cachePath, signal }: RewriteOptions,
  { dir, commits }: { readonly dir: string; readonly commits: readonly CommitContent[] },
): Promise<void> {
  const files = commits.map((_, index) => path.join(dir, `new-${index}`));
  for (const [index, { content }] of commits.entries()) await writeFile(files[index] ?? "", content, { mode: 0o600 });
  const list = path.join(dir, "list");
  await writeFile(list, files.map((file) => `${file}\n`).join(""), { mode: 0o600 });
  const args = ["hash-object"];
  const script = 'git --git-dir "$1" hash-object -t commit -w --stdin-paths <"$2"';
  const result = await runGitScript(host, { script, words: [cachePath, list], args }, { signal, timeoutMs: TIMEOUT_MS });
  if (result.code !== 0) throw new GitError(args, result);
  if (result.stdout.trim() !== commits.map(({ name }) => name).join("\n"))
    throw new GitError(args, { code: null, stderr: "git names the new commits otherwise" });
}
