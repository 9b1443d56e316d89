import { RunyardError } from "@runyard/sdk/contract";
import { parseRemoteUrl, type RemoteUrl } from "../core/repository-url.ts";
import type { GitHost } from "./host-git.ts";
import { isBranchName, isObjectName } from "./names.ts";
import { RemoteGitError, remoteNotUsable } from "./remote-error.ts";
import { MAX_ANSWER_BYTES, remoteGit, type RemoteNotice, requireAccess } from "./remote-git.ts";

const LOOK_TIMEOUT_MS = 30_000;
const MAX_NAMED_BRANCHES = 10;

/** A repository on another machine. */
export interface RemotePlace {
  /** Its URL, always written the same. */
  readonly root: string;
  readonly remote: RemoteUrl;
  /** Whose cache of it is meant. */
  readonly orgId: string;
}

export interface RemoteRepository extends RemotePlace {
  /** The branch that was asked for, or else the one that is the repository's default; null: it has none. */
  readonly branch: string | null;
  readonly commit: string;
  readonly notices: readonly (RemoteNotice | { readonly code: "detached-head"; readonly message: string })[];
}

function notUsable(message: string): RunyardError {
  return new RunyardError("repository_not_usable", message);
}

/** The place that a URL names, which may not be there. Throws RunyardError `repository_not_usable`, which shows nothing of a URL that is wrong. */
export function findRemote(host: GitHost, repositoryUrl: string): RemotePlace {
  const remote = parseRemoteUrl(repositoryUrl);
  if (typeof remote === "string") throw notUsable(remote);
  return { root: remote.href, remote, orgId: requireAccess(host, remote).orgId };
}

/** Asks a repository on another machine for the commit of a branch, or of its default branch. Throws RunyardError `repository_not_usable` with a sentence for the user. */
export async function inspectRemote(host: GitHost, repositoryUrl: string, branch?: string): Promise<RemoteRepository> {
  const place = findRemote(host, repositoryUrl);
  if (branch !== undefined && !isBranchName(branch)) throw notUsable(`${JSON.stringify(branch)} is not the name of a branch`);
  const { refs, head, notices } = await listRefs(host, place, branch === undefined ? ["HEAD"] : ["HEAD", `refs/heads/${branch}`]);
  if (branch !== undefined) {
    const commit = refs.get(`refs/heads/${branch}`);
    if (commit === undefined) throw await unknownBranch(host, place, branch);
    return { ...place, branch, commit, notices };
  }
  const commit = refs.get("HEAD");
  if (commit === undefined) throw await withoutHead(host, place, head);
  if (head !== null) return { ...place, branch: head, commit, notices };
  const message = `${place.root} has no default branch (detached head): the run starts from commit ${commit.slice(0, 10)}`;
  return { ...place, branch: null, commit, notices: [...notices, { code: "detached-head", message }] };
}

interface Refs {
  /** Commits by full names. */
  readonly refs: ReadonlyMap<string, string>;
  /** The default branch. */
  readonly head: string | null;
  readonly notices: readonly RemoteNotice[];
  readonly masked: (text: string) => string;
}

async function listRefs(host: GitHost, place: RemotePlace, patterns: readonly string[]): Promise<Refs> {
  const args = ["ls-remote", "--symref", "--", place.remote.href, ...patterns];
  const { stdout, notices, masked } = await explained(place, () =>
    remoteGit(host, { url: place.remote, args, timeoutMs: LOOK_TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES }),
  );
  const lines = stdout.split("\n").map((line) => line.split("\t") as [string, string?]);
  const symbolic = lines.find(([what, name]) => what.startsWith("ref: refs/heads/") && name === "HEAD")?.[0];
  const head = symbolic === undefined ? null : masked(symbolic.slice("ref: refs/heads/".length));
  const refs = new Map(lines.flatMap(([commit, name = ""]) => (isObjectName(commit) ? [[name, commit] as const] : [])));
  return { refs, head: head !== null && isBranchName(head) ? head : null, notices, masked };
}

/** Where a branch points to there; null: there is no such branch. */
export async function remoteBranch(host: GitHost, place: RemotePlace, branch: string): Promise<string | null> {
  const ref = `refs/heads/${branch}`;
  return (await listRefs(host, place, [ref])).refs.get(ref) ?? null;
}

async function someBranches(host: GitHost, place: RemotePlace): Promise<string> {
  const { refs, masked } = await listRefs(host, place, ["refs/heads/*"]);
  const names = [...refs.keys()].map((name) => name.replace(/^refs\/heads\//, "")).filter(isBranchName);
  const more = names.length - MAX_NAMED_BRANCHES;
  return `${masked(names.slice(0, MAX_NAMED_BRANCHES).join(", "))}${more > 0 ? ` and ${more} more` : ""}`;
}

async function unknownBranch(host: GitHost, place: RemotePlace, branch: string): Promise<RunyardError> {
  const branches = await someBranches(host, place);
  return notUsable(branches === "" ? withoutCommit(place) : `There is no branch ${branch} in ${place.root}; there is ${branches}`);
}

async function withoutHead(host: GitHost, place: RemotePlace, head: string | null): Promise<RunyardError> {
  const branches = await someBranches(host, place);
  if (branches === "") return notUsable(withoutCommit(place));
  return notUsable(`The default branch ${head ?? ""} of ${place.root} has no commit: name another branch (there is ${branches})`);
}

function withoutCommit({ root }: RemotePlace): string {
  return `${root} has no commit yet: push something first, a run starts from a commit`;
}

/** Says of a failure what a user can do about it. */
export async function explained<T>(place: RemotePlace, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RemoteGitError)) throw error;
    throw remoteNotUsable(error, `${place.root} cannot be used`);
  }
}
