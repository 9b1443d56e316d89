import { lstat } from "node:fs/promises";
import path from "node:path";
import type { Redactor } from "../redact.ts";
import { withQuarantine } from "./bare-repository.ts";
import { noticeText, readCommitResult, type ResultNotice } from "./commit-result.ts";
import { git, GitError, type GitHost, tryGitSeries } from "./host-git.ts";
import { withLocks } from "./locks.ts";
import { requireObjectName, resultRef } from "./names.ts";
import { QUIET_FETCH } from "./quiet-fetch.ts";
import { scanCommits, type SecretPlace } from "./scan-commits.ts";

/** Largest bundle that is taken. */
const MAX_BUNDLE_BYTES = 2 * 1024 ** 3;
const FETCH_TIMEOUT_MS = 10 * 60_000;

export interface ImportOptions {
  readonly cachePath: string;
  /** Where the commit step left its files, on the host. */
  readonly resultsDir: string;
  readonly base: string;
  /** The other side, where the result is a merge with something that the cache has. */
  readonly onto?: string | undefined;
  readonly runId: string;
  /** Largest bundle that is taken, in bytes; default 2 GiB. */
  readonly maxBytes?: number;
  /** Knows the secrets that must not be in a result. */
  readonly redactor?: Redactor;
  readonly signal?: AbortSignal | undefined;
}

export interface ImportedResult {
  /** The commit that the run made, now in the cache; null when it changed nothing. */
  readonly head: string | null;
  readonly notices: readonly ResultNotice[];
  /** Files that the agent's repository has as unmerged, where that was asked for; nobody has checked that. */
  readonly unmerged: readonly string[];
}

/** A result holds secrets of its run: it was not taken. The message says where, and no value. */
export class SecretsInResultError extends Error {
  override readonly name = "SecretsInResultError";
  constructor(found: readonly SecretPlace[]) {
    super(found.map(placeWords).join("; "));
  }
}

function placeWords({ label, commit, file, line }: SecretPlace): string {
  const where = file === null ? "in the message or the names" : line === null ? `in the file name ${file}` : `in ${file}, line ${line}`;
  return `${label} ${where} of the commit ${commit.slice(0, 10)}`;
}

function malformed(reason: string): GitError {
  return new GitError(["fetch", "result.bundle"], { code: null, stderr: `the result of the run cannot be taken: ${reason}` });
}

export async function requireBundle(file: string, maxBytes = MAX_BUNDLE_BYTES): Promise<void> {
  const found = await lstat(file).catch(() => null);
  if (found === null || !found.isFile()) throw malformed("it has no bundle of commits");
  if (found.size > maxBytes) throw malformed(`it has ${found.size} bytes, more than the ${maxBytes} that are allowed`);
}

/** Takes one commit out of a bundle into a quarantine, and makes sure that it goes on from `base`. */
export async function unpack(
  host: GitHost,
  quarantine: string,
  options: { bundle: string; base: string; onto?: string | undefined; head: string; signal: AbortSignal | undefined },
): Promise<void> {
  const { bundle, base, onto = base, head, signal } = options;
  const inside = (...words: string[]): string[] => ["--git-dir", quarantine, ...words];
  const commands = [
    inside("update-ref", "refs/heads/base", base),
    inside("update-ref", "refs/heads/onto", onto),
    inside(...QUIET_FETCH, "--", bundle, "+refs/heads/*:refs/bundle/*"),
    inside("for-each-ref", "--format=%(objecttype) %(objectname)", "refs/bundle"),
    inside("merge-base", "--is-ancestor", base, head),
  ];
  const results = await tryGitSeries(host, commands, { signal, timeoutMs: FETCH_TIMEOUT_MS });
  const [, , , tips, order] = results;
  if (tips?.code === 0 && !tips.stdout.split("\n").includes(`commit ${head}`))
    throw malformed("its bundle does not hold the commit that it names");
  if (order?.code === 1) throw malformed("it does not go on from the commit that the run started from");
  const last = results.at(-1);
  if (last?.code !== 0) throw new GitError(commands[results.length - 1] ?? [], last ?? { code: null, stderr: "" });
}

/**
 * Takes what a run has made into the cache. Everything in `resultsDir` is untrusted: the bundle is opened
 * in a quarantine, and only the commits between `base` and the result, with every object checked, come from
 * there into the cache, and none of them where one holds a secret. Can be repeated. Throws SecretsInResultError, GitError, or Error where `result.json` is not readable.
 */
export async function importResult(host: GitHost, options: ImportOptions): Promise<ImportedResult> {
  const { cachePath, resultsDir, runId, signal } = options;
  const base = requireObjectName(options.base);
  const result = await readCommitResult(resultsDir);
  const notices = result.notices.map((notice) => ({ code: notice.code, message: noticeText(notice) }));
  const { unmerged } = result;
  if (!result.changed) return { head: null, notices, unmerged };

  const { head } = result;
  const bundle = path.join(resultsDir, "result.bundle");
  const ref = resultRef(runId);
  await requireBundle(bundle, options.maxBytes ?? MAX_BUNDLE_BYTES);
  await withQuarantine(host, { lender: cachePath, example: base }, async (quarantine) => {
    await unpack(host, quarantine, { bundle, base, onto: options.onto, head, signal });
    if (options.redactor !== undefined) {
      const found = await scanCommits(host, { gitDir: quarantine, base, head, redactor: options.redactor, signal });
      if (found.length > 0) throw new SecretsInResultError(found);
    }
    const take = (into: string): Promise<string> => {
      const fetch = ["--git-dir", into, "-c", "fetch.fsckObjects=true", ...QUIET_FETCH, "--", quarantine, `+${head}:${ref}`];
      return git(host, fetch, { signal, timeoutMs: FETCH_TIMEOUT_MS });
    };
    // A fetch that is refused leaves its objects where it was going, and does not check them when they come again: so
    // it is tried where nothing lasts.
    await withQuarantine(host, { lender: cachePath, example: base }, take);
    await withLocks(cachePath, [ref], () => take(cachePath));
  });
  return { head, notices, unmerged };
}
