import { constants } from "node:fs";
import { access, realpath, stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { RunyardError } from "@runyard/sdk/contract";
import { isRemoteUrl } from "../core/repository-url.ts";
import { BranchObstacle } from "./branch-problem.ts";
import { type GitHost, type GitResult, tryGit } from "./host-git.ts";
import { type Look, lookAt } from "./look.ts";
import { isBranchName, quotedName } from "./names.ts";
import { findRemote, inspectRemote, type RemotePlace, type RemoteRepository } from "./remote-repository.ts";

/** Where a repository lies: on this machine or on another one. */
export type RepositoryPlace = LocalPlace | RemotePlace;

export function isRemote(place: RepositoryPlace): place is RemotePlace {
  return "remote" in place;
}

/** Where a repository of the user lies. */
export interface LocalPlace {
  /** The top of the working tree, or the git directory where there is none. */
  readonly root: string;
  /** The git directory that holds objects and branches, also for a linked worktree; real path. */
  readonly gitDir: string;
}

export interface RepositoryNotice {
  readonly code: "uncommitted-changes" | "detached-head";
  readonly message: string;
}

export interface LocalRepository extends LocalPlace {
  /** The branch that was asked for, or else the current one; null for a detached head. */
  readonly branch: string | null;
  readonly commit: string;
  readonly notices: readonly RepositoryNotice[];
}

function notUsable(message: string, cause?: unknown): RunyardError {
  return new RunyardError("repository_not_usable", message, { cause });
}

/** A path as people can read it in a sentence: quoted only where it must be. */
function shown(file: string): string {
  return /^[\w./@+~:-]+$/.test(file) ? file : JSON.stringify(file);
}

function folderOf(repositoryUrl: string): string {
  let folder = repositoryUrl;
  if (/^file:/i.test(repositoryUrl)) {
    try {
      folder = fileURLToPath(repositoryUrl);
    } catch (error) {
      throw notUsable(`${shown(repositoryUrl)} does not name a folder of this machine: write it as file:///path/to/repository`, error);
    }
  }
  if (path.isAbsolute(folder) && !folder.includes("\0")) return path.resolve(folder);
  throw notUsable(
    `${shown(repositoryUrl)} cannot be used: give the URL of a repository, or an absolute path (or file:// URL) on the server's machine`,
  );
}

async function existingFolder(repositoryUrl: string): Promise<string> {
  const folder = folderOf(repositoryUrl);
  try {
    const found = await stat(folder);
    if (!found.isDirectory()) throw notUsable(`${shown(folder)} is not a folder: name the folder of a git repository`);
    await access(folder, constants.R_OK | constants.X_OK);
    return folder;
  } catch (error) {
    if (RunyardError.is(error)) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw notUsable(`There is no folder ${shown(folder)} on the server's machine`, new BranchObstacle("not-found", { cause: error }));
    }
    if (code === "EACCES" || code === "EPERM") throw unreadable(folder, error);
    throw notUsable(`${shown(folder)} cannot be read: ${(error as Error).message}`, error);
  }
}

function unreadable(folder: string, cause?: unknown): RunyardError {
  return notUsable(
    `The server's user may not read ${shown(folder)}: give it the right to, or run the server as the user whose repository it is`,
    new BranchObstacle("not-allowed", { cause }),
  );
}

function notARepository(folder: string, result: GitResult): RunyardError {
  const said = result.stderr;
  if (/dubious ownership|unsafe repository/.test(said)) {
    return notUsable(
      `git does not trust ${shown(folder)}, because it belongs to another user: run "git config --global --add safe.directory ${folder}" as the server's user`,
    );
  }
  if (/Permission denied/.test(said)) return unreadable(folder);
  if (result.code === 127) return notUsable("git is not installed on the server's machine, or not on the server's PATH");
  if (/not a git repository \(or any/.test(said))
    return notUsable(
      `${shown(folder)} is not in a git repository: run "git init" there, and commit something`,
      new BranchObstacle("not-found"),
    );
  const last = said
    .trim()
    .split("\n")
    .at(-1)
    ?.replace(/^fatal: /, "");
  return notUsable(`${shown(folder)} is not a usable git repository: ${last || `git ended with code ${result.code}`}`);
}

const MAX_SEEN = 1_000;
const seen = new Map<string, LocalPlace>();

/** Where the repository whose root this is was when this process last looked. It may have moved since: make sure of it. */
export function lastSeen(root: string): LocalPlace | undefined {
  return seen.get(root);
}

function remember(place: LocalPlace): void {
  if (seen.size >= MAX_SEEN) seen.clear();
  seen.set(place.root, place);
}

/**
 * Finds the repository that a path, or a folder inside of it, belongs to. That a URL names is not asked for before it is
 * needed. Throws RunyardError `repository_not_usable`.
 */
export async function findRepository(host: GitHost, repositoryUrl: string): Promise<RepositoryPlace> {
  if (isRemoteUrl(repositoryUrl)) return findRemote(host, repositoryUrl);
  const folder = await existingFolder(repositoryUrl);
  return placeOf(folder, await lookAt(host, folder));
}

async function placeOf(folder: string, { common, top }: Look): Promise<LocalPlace> {
  if (common.code !== 0) throw notARepository(folder, common);
  const gitDir = await realpath(path.resolve(folder, common.stdout));
  const place = { root: top ?? gitDir, gitDir };
  remember(place);
  return place;
}

interface Head {
  readonly branch: string | null;
  readonly commit: string;
}

function commitQuestion(name: string): string[] {
  return ["rev-parse", "--verify", "--quiet", `${name}^{commit}`];
}

async function someBranches(host: GitHost, place: LocalPlace): Promise<string[]> {
  const result = await tryGit(host, ["for-each-ref", "--count=10", "--sort=-committerdate", "--format=%(refname:lstrip=2)", "refs/heads"], {
    cwd: place.root,
  });
  return result.stdout.split("\n").filter((name) => name !== "");
}

async function requireHead(host: GitHost, place: LocalPlace, { commit, currentRef }: Look): Promise<Head> {
  const branch = currentRef?.replace(/^refs\/heads\//, "") ?? null;
  if (commit !== null) return { branch, commit };
  const branches = await someBranches(host, place);
  if (branches.length === 0) throw notUsable(`${shown(place.root)} has no commit yet: commit something first, a run starts from a commit`);
  throw notUsable(`The current branch of ${shown(place.root)} has no commit: name another branch (there is ${branches.join(", ")})`);
}

async function requireBranch(host: GitHost, place: LocalPlace, { branch, commit }: Look & { branch: string }): Promise<Head> {
  if (commit !== null) return { branch, commit };
  throw await unknownBranch(host, place, branch);
}

async function unknownBranch(host: GitHost, place: LocalPlace, branch: string): Promise<RunyardError> {
  const branches = await someBranches(host, place);
  if (branches.length === 0) return notUsable(`${shown(place.root)} has no commit yet: commit something first, a run starts from a commit`);
  const unknown = `There is no branch ${branch} in ${shown(place.root)}`;
  const remote = await tryGit(host, commitQuestion(`refs/remotes/origin/${branch}`), { cwd: place.root });
  if (remote.code === 0) {
    return notUsable(`${unknown}, only origin/${branch}: run "git branch ${branch} origin/${branch}" there`);
  }
  return notUsable(`${unknown}; there is ${branches.join(", ")}`);
}

/** A repository that was found, and how it is looked at. */
export interface FoundRepository<T extends LocalRepository | RemoteRepository = LocalRepository | RemoteRepository> {
  readonly root: string;
  /** At the branch that it was found with, else at this one, else at its HEAD. Throws RunyardError `repository_not_usable` as below. */
  readonly inspect: (byDefault?: string) => Promise<T>;
}

/**
 * Finds a repository whose branch may be known only once its root is; nobody is asked about one on another machine yet. Throws
 * RunyardError `repository_not_usable` with a sentence for the user.
 */
export async function openRepository(host: GitHost, repositoryUrl: string, branch?: string): Promise<FoundRepository> {
  if (!isRemoteUrl(repositoryUrl)) return openLocal(host, repositoryUrl, branch);
  const { root } = findRemote(host, repositoryUrl);
  return { root, inspect: (byDefault) => inspectRemote(host, repositoryUrl, branch ?? byDefault) };
}

/** Looks at a repository of this machine or another one. Throws RunyardError `repository_not_usable` with a sentence for the user. */
export async function inspectRepository(
  host: GitHost,
  repositoryUrl: string,
  branch?: string,
): Promise<LocalRepository | RemoteRepository> {
  return (await openRepository(host, repositoryUrl, branch)).inspect();
}

/**
 * Looks at a repository of this machine, given as an absolute path (or a `file://` URL) of it or of a folder
 * inside, without changing anything or running any of its programs. Throws RunyardError
 * `repository_not_usable` with a sentence for the user.
 */
export async function inspectLocal(host: GitHost, repositoryUrl: string, branch?: string): Promise<LocalRepository> {
  return (await openLocal(host, repositoryUrl, branch)).inspect();
}

async function openLocal(host: GitHost, repositoryUrl: string, branch?: string): Promise<FoundRepository<LocalRepository>> {
  const folder = await existingFolder(repositoryUrl);
  const first = await lookAt(host, folder, startOf(branch));
  const place = await placeOf(folder, first);
  const inspect = async (byDefault?: string): Promise<LocalRepository> => {
    const name = branch ?? byDefault;
    // What is checked out was looked at already.
    const isSeen = startOf(name) === startOf(branch) || startOf(name) === first.currentRef;
    return conclude(host, place, { look: isSeen ? first : await lookAt(host, folder, startOf(name)), branch: name });
  };
  return { root: place.root, inspect };
}

/** What git is asked for; what is no name of a branch it is not given. */
function startOf(branch: string | undefined): string {
  return branch === undefined || !isBranchName(branch) ? "HEAD" : `refs/heads/${branch}`;
}

async function conclude(
  host: GitHost,
  place: LocalPlace,
  { look, branch }: { readonly look: Look; readonly branch: string | undefined },
): Promise<LocalRepository> {
  if (branch !== undefined && !isBranchName(branch)) throw notUsable(`${quotedName(branch)} is not the name of a branch`);
  const head = await (branch === undefined ? requireHead(host, place, look) : requireBranch(host, place, { ...look, branch }));
  const notices: RepositoryNotice[] = [];
  if (head.branch === null) {
    notices.push({
      code: "detached-head",
      message: `No branch is checked out in ${shown(place.root)} (detached head): the run starts from commit ${head.commit.slice(0, 10)}`,
    });
  }
  if (look.changes !== null) {
    notices.push({
      code: "uncommitted-changes",
      message: `${look.changes}: the run starts from commit ${head.commit.slice(0, 10)} and does not see them`,
    });
  }
  return { ...place, branch: head.branch, commit: head.commit, notices };
}
