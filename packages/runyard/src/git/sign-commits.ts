import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { runHostCommand } from "../sandbox/step.ts";
import { readCommitContents } from "./commit-contents.ts";
import { git, GitError, type GitHost, hostGitEnvironment } from "./host-git.ts";
import { withLocks } from "./locks.ts";
import { requireObjectName, resultRef } from "./names.ts";

const TIMEOUT_MS = 10 * 60_000;

export interface SignOptions {
  readonly cachePath: string;
  readonly runId: string;
  readonly base: string;
  readonly head: string;
  /** Another commit behind which they are: the other side of a merge. */
  readonly onto?: string | undefined;
  /** Signs the content of a commit, in armour. */
  readonly sign: (content: Buffer) => string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes the commits of a run behind `base` up to `head` anew in the cache, the same but signed, and returns the last one. No program
 * that knows the key is started, and nothing of it is written anywhere. Where `sign` always signs alike, it can be repeated.
 */
export async function signCommits(host: GitHost, options: SignOptions): Promise<string> {
  const { cachePath, signal } = options;
  const head = requireObjectName(options.head);
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "sign-"));
  try {
    const renamed = new Map<string, string>();
    const files: string[] = [];
    for (const [index, { name, content }] of (await readCommitContents(host, { ...options, dir })).entries()) {
      const signed = signedCommit(content, { renamed, sign: options.sign, isSha256: name.length === 64 });
      renamed.set(name, objectName(signed, name.length === 64));
      files.push(path.join(dir, String(index)));
      await writeFile(files.at(-1) ?? "", signed, { mode: 0o600 });
    }
    await writeFile(path.join(dir, "list"), files.map((file) => `${file}\n`).join(""), { mode: 0o600 });
    const made = await shell(host, options, 'exec git --git-dir="$1" hash-object -t commit -w --stdin-paths <"$2"', [
      path.join(dir, "list"),
    ]);
    if (made.trim() !== [...renamed.values()].join("\n"))
      throw new GitError(["hash-object"], { code: null, stderr: "git names the signed commits otherwise" });
    const last = renamed.get(head) ?? head;
    const ref = resultRef(options.runId);
    await withLocks(cachePath, [ref], () => git(host, ["--git-dir", cachePath, "update-ref", "--no-deref", ref, last], { signal }));
    return last;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function shell(host: GitHost, { cachePath, signal }: SignOptions, script: string, words: readonly string[]): Promise<string> {
  const result = await runHostCommand({
    spawner: host.spawner,
    stepsDir: host.stepsDir,
    argv: ["/bin/sh", "-c", script, "sh", cachePath, ...words],
    env: hostGitEnvironment(host),
    timeoutMs: TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
  });
  if (result.code !== 0) throw new GitError(["hash-object"], result);
  return result.stdout;
}

/** The commit with its parents as they are called now, and a signature in place of any that it had. */
function signedCommit(
  commit: Buffer,
  {
    renamed,
    sign,
    isSha256,
  }: { readonly renamed: ReadonlyMap<string, string>; readonly sign: SignOptions["sign"]; readonly isSha256: boolean },
): Buffer {
  const end = commit.indexOf("\n\n");
  const split = end === -1 ? commit.length : end + 1;
  const headers = commit.toString("latin1", 0, split).split("\n").slice(0, -1);
  const kept: string[] = [];
  let isSignature = false;
  for (const line of headers) {
    // A line that begins with a space goes on with the one before.
    if (!line.startsWith(" ")) isSignature = /^gpgsig(-sha256)? /.test(line);
    if (!isSignature) kept.push(line.startsWith("parent ") ? `parent ${renamed.get(line.slice(7)) ?? line.slice(7)}` : line);
  }
  const rest = commit.subarray(split);
  const head = Buffer.from(`${kept.join("\n")}\n`, "latin1");
  const lines = sign(Buffer.concat([head, rest]))
    .trimEnd()
    .split("\n");
  return Buffer.concat([head, Buffer.from(`gpgsig${isSha256 ? "-sha256" : ""} ${lines.join("\n ")}\n`), rest]);
}

function objectName(commit: Buffer, isSha256: boolean): string {
  return createHash(isSha256 ? "sha256" : "sha1")
    .update(`commit ${commit.length}\0`)
    .update(commit)
    .digest("hex");
}
