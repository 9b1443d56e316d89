import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runHostCommand, StepTimeoutError } from "../sandbox/step.ts";
import { hostMemoryBytes } from "../sandbox/host-memory.ts";
import type { Spawner } from "../sandbox/spawner.ts";
import { GIT_ENVIRONMENT } from "./git-environment.ts";
import type { RemoteAccess } from "./remote-access.ts";

/** What it takes to run git on the host without a fork of the server. */
export interface GitHost {
  readonly spawner: Spawner;
  /** Where the run directories of short commands are made, absolute. */
  readonly stepsDir: string;
  /** The most that one process of git may take for itself, in bytes; default: half of the machine's, and no less than 1 GiB. */
  readonly maxMemoryBytes?: number;
  /** How an organization reaches repositories on other machines; left out: not at all. */
  readonly remotes?: RemoteAccess;
}

export interface GitOptions {
  /** Where git starts, absolute; default: a place that belongs to no repository of the user. */
  readonly cwd?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** Settings that count before all others, as `core.bare=true`; anybody on this machine can read them. */
  readonly config?: readonly string[];
  /** Whose files git makes, where that is not the server's user; for root only. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

export interface GitResult {
  /** Exit status; null when the command was lost. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const DEFAULT_TIMEOUT_MS = 120_000;
const STDERR_TAIL = 2_000;

/** Stronger than any repository's own configuration: what runs programs is off, and nothing is tidied up behind our back. */
const SAFE_CONFIG = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.sshCommand=false",
  "core.alternateRefsCommand=true",
  "credential.helper=",
  "protocol.ext.allow=never",
  "submodule.recurse=false",
  "gc.auto=0",
  "maintenance.auto=false",
].flatMap((setting) => ["-c", setting]);

/**
 * git refuses a repository of another user, unless the user's own configuration names it. Whoever names a
 * path to Runyard has decided that already, and none of that repository's programs is run. The command line
 * does not reach the git that serves a fetch, so this must be a file.
 */
const GLOBAL_CONFIG = "[safe]\n\tdirectory = *\n";

/** Beside the folders of commands. */
export const GIT_HOME = "git-home";

function gitHome(host: GitHost): string {
  const home = path.join(host.stepsDir, GIT_HOME);
  const file = path.join(home, ".gitconfig");
  if (!existsSync(file)) {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, GLOBAL_CONFIG, { mode: 0o600 });
    renameSync(draft, file);
  }
  return home;
}

/** The whole environment of git on the host, but for PATH. */
export function hostGitEnvironment(host: GitHost): Record<string, string> {
  const home = gitHome(host);
  return { ...GIT_ENVIRONMENT, HOME: home, XDG_CONFIG_HOME: home, GIT_CONFIG_GLOBAL: path.join(home, ".gitconfig") };
}

/** A git command that did not end well. */
export class GitError extends Error {
  override readonly name = "GitError";
  readonly args: readonly string[];
  /** Exit status; null when the command was lost or ran out of time. */
  readonly code: number | null;
  /** The last 2,000 characters of what it complained about. */
  readonly stderr: string;

  constructor(args: readonly string[], result: Omit<GitResult, "stdout">, options?: ErrorOptions) {
    super(`git ${subcommand(args)} failed: ${reasonOf(result)}`, options);
    this.args = args;
    this.code = result.code;
    this.stderr = result.stderr.slice(-STDERR_TAIL);
  }
}

/** Options before the subcommand that have a value of their own. */
const WITH_VALUE = ["-c", "-C", "--git-dir"];

function subcommand(args: readonly string[]): string {
  return args.find((word, index) => !word.startsWith("-") && !WITH_VALUE.includes(args[index - 1] ?? "")) ?? "";
}

/** What git said, without its prefixes: the complaints where there are some, else the last line. */
function reasonOf(result: Omit<GitResult, "stdout">): string {
  const lines = result.stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const complaints = lines.filter((line) => /^(remote: )?(fatal|error): /.test(line));
  const said = (complaints.length > 0 ? complaints.slice(0, 3) : lines.slice(-1)).map((line) =>
    line.replace(/^(remote: )?(fatal|error): /, ""),
  );
  if (said.length > 0) return said.join("; ");
  if (result.code === null) return "it was ended before it was done";
  return result.code === 127 ? "git is not installed, or not on the server's PATH" : `it ended with code ${result.code}`;
}

/** Another user cannot read our configuration, and does not need it for a repository of their own. */
function commandAs(host: GitHost, owner: GitOptions["owner"]): { words: string[]; env: Record<string, string> } {
  if (owner === undefined) return { words: [], env: hostGitEnvironment(host) };
  const words = ["setpriv", "--reuid", String(owner.uid), "--regid", String(owner.gid), "--clear-groups", "--no-new-privs", "--"];
  return { words, env: { ...GIT_ENVIRONMENT, HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent", GIT_CONFIG_GLOBAL: "/dev/null" } };
}

/** Runs git on the host and gives its result, also when it failed. Rejects with GitError on timeout, with the signal's reason on abort. */
export async function tryGit(host: GitHost, args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  const place = options.cwd === undefined ? [] : ["-C", options.cwd];
  const config = (options.config ?? []).flatMap((setting) => ["-c", setting]);
  return runCommand(host, args, { ...options, argv: ["git", ...place, ...SAFE_CONFIG, ...config, ...args] });
}

/** In a script `git` is git with these settings. */
const SCRIPT_GIT = `git() { command git ${SAFE_CONFIG.join(" ")} "$@"; }\n`;

/**
 * Runs several git commands as one command of the host, which costs little more than one of them: a script of POSIX
 * shell, and the words that it gets as `$1` and so on. `args` is the git command that an error names. Throws as
 * `tryGit` does.
 */
export async function runGitScript(
  host: GitHost,
  { script, words, args }: { readonly script: string; readonly words: readonly string[]; readonly args: readonly string[] },
  options: Omit<GitOptions, "cwd"> = {},
): Promise<GitResult> {
  return runCommand(host, args, { ...options, argv: ["/bin/sh", "-c", `${SCRIPT_GIT}${script}`, "sh", ...words] });
}

/** Arguments: for each command the number of its words, and the words. */
const SERIES_SCRIPT = `while [ $# -gt 0 ]; do
  count=$1 at=0 words=
  shift
  while [ $at -lt $count ]; do at=$((at + 1)) words="$words \\"\\\${$at}\\""; done
  eval "git $words"
  code=$?
  printf '\\0%d\\0' $code
  [ $code = 0 ] || exit $code
  printf '\\0' >&2
  shift $count
done
`;

/**
 * Runs git commands one after the other as one command of the host, up to the first that fails; resolves with the
 * results of those that were run. Throws as `tryGit` does.
 */
export async function tryGitSeries(
  host: GitHost,
  commands: readonly (readonly string[])[],
  options: Omit<GitOptions, "cwd"> = {},
): Promise<GitResult[]> {
  const words = commands.flatMap((command) => [String(command.length), ...command]);
  const { stdout, stderr, code } = await runGitScript(host, { script: SERIES_SCRIPT, words, args: commands[0] ?? [] }, options);
  const [said, complaints] = [stdout.split("\0"), stderr.split("\0")];
  const results: GitResult[] = [];
  for (let at = 0; at < commands.length && (results.at(-1)?.code ?? 0) === 0; at += 1) {
    const status = said[2 * at + 1];
    results.push({ stdout: said[2 * at] ?? "", stderr: complaints[at] ?? "", code: status === undefined ? code : Number(status) });
    if (status === undefined) break;
  }
  return results;
}

const LEAST_MEMORY_BYTES = 1024 ** 3;

/**
 * Words that run the command behind them with memory of its own for so much and no more: a pack of a megabyte can hold a
 * commit of a gigabyte, which git unpacks at once. Packs that are mapped do not count. Where the system knows no such limit there is none.
 */
function bounded({ maxMemoryBytes = Math.max(hostMemoryBytes() / 2, LEAST_MEMORY_BYTES) }: GitHost): string[] {
  return ["/bin/sh", "-c", 'ulimit -d "$1" 2>/dev/null; shift; exec "$@"', "sh", String(Math.floor(maxMemoryBytes / 1024))];
}

async function runCommand(
  host: GitHost,
  args: readonly string[],
  options: Omit<GitOptions, "cwd"> & { readonly argv: readonly string[] },
): Promise<GitResult> {
  const as = commandAs(host, options.owner);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  try {
    const result = await runHostCommand({
      spawner: host.spawner,
      stepsDir: host.stepsDir,
      argv: [...as.words, ...bounded(host), ...options.argv],
      env: { ...as.env, ...options.env },
      timeoutMs,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (result.truncated) throw new GitError(args, { code: null, stderr: "it said more than can be read" });
    return result;
  } catch (error) {
    if (!(error instanceof StepTimeoutError)) throw error;
    throw new GitError(args, { code: null, stderr: `it took longer than ${Math.round(timeoutMs / 1000)} s` }, { cause: error });
  }
}

/** Runs git on the host; resolves with its stdout. Rejects with GitError when it fails. */
export async function git(host: GitHost, args: readonly string[], options: GitOptions = {}): Promise<string> {
  const result = await tryGit(host, args, options);
  if (result.code !== 0) throw new GitError(args, result);
  return result.stdout;
}
