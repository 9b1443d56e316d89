import type { CommitAuthor } from "@runyard/sdk/contract";
import { BOT_IDENTITY, environmentLines, SAY_AT_THE_END } from "./git-environment.ts";
import { requireBranchName, requireObjectName } from "./names.ts";
import { MAKE_REPOSITORY } from "./workspace.ts";

/** Lines of the script's output: what came of it, and the files that conflict. */
const CLEAN = "clean";
const CONFLICT = "conflict ";

/**
 * Merges a commit into what a workspace is at: $1 cache, $2 workspace, $3 commit that it is at, $4 branch, $5 commit to merge,
 * $6 name of that one's branch, $7 results directory, $8 `merge`, or `forward` where there is nothing to merge, $9 message,
 * $10 and $11 name and address of who the merge is by (empty: Runyard).
 *
 * The repository that the agent left is thrown away first, unread: what it configured, its hooks and its merge drivers are
 * nothing to git here, whatever the attributes of files name. The files become those of the commit, which has all that
 * could be committed; what git ignores stays. The result is a bundle with the merge, as the merge left it: where files
 * conflict, with the markers in them. The workspace is left in the middle of that merge then.
 */
const MERGE_SCRIPT = `set -u
umask 022
${environmentLines({ ...BOT_IDENTITY, GIT_CONFIG_GLOBAL: "/dev/null", HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" })}
cache=$1 workspace=$2 commit=$3 branch=$4 onto=$5 name=$6 results=$7 how=$8 message=$9
shift 9
[ -z "$1" ] || export GIT_AUTHOR_NAME="$1" GIT_AUTHOR_EMAIL="$2" GIT_COMMITTER_NAME="$1" GIT_COMMITTER_EMAIL="$2"
command -v git >/dev/null || { echo 'git was not found in the sandbox' >&2; exit 127; }
exec 3>&1
${MAKE_REPOSITORY}
git() { command git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c diff.ignoreSubmodules=all "$@"; }
fail() { echo "$1" >&2; exit 1; }
unmerged() { git ls-files --unmerged -z | tr '\\n\\000' '\\001\\n' | sed "s/^[^$(printf '\\t')]*$(printf '\\t')//" | sort -u; }

work() {
set -e
cd "$workspace"
rm -rf .git 2>/dev/null || { chmod -R u+rwX .git; rm -rf .git; }
rm -f "$results/result.json" "$results/result.bundle" "$results/merged-index"
make_repository
git symbolic-ref HEAD "refs/heads/$branch"
# First to where it goes: so nothing is in the way of what it brings, nor is left of a merge that was broken off.
git reset --quiet --hard "$onto" --
git update-ref "refs/remotes/origin/$name" "$onto"
if [ "$how" = forward ]; then
  echo '${CLEAN}' >&3
  exit 0
fi
git reset --quiet --hard "$commit" --
# Markers are looked for by their length.
echo '* conflict-marker-size=7' >.git/info/attributes
git -c merge.conflictStyle=merge -c rerere.enabled=false -c merge.verifySignatures=false merge --quiet --no-stat --no-commit --no-ff "origin/$name" || [ -n "$(unmerged | head -c 1)" ] || exit 1
rm .git/info/attributes
unmerged >"$results/unmerged"
[ ! -s "$results/unmerged" ] || sed 's/^/${CONFLICT}/' "$results/unmerged" >&3
[ -s "$results/unmerged" ] || echo '${CLEAN}' >&3
# As files that conflict are in the workspace, in an index beside its own.
cp .git/index "$results/merged-index"
export GIT_INDEX_FILE="$results/merged-index"
tr '\\001\\n' '\\n\\000' <"$results/unmerged" | git update-index --add --remove -z --stdin
merged=$(printf '%s\\n' "$message" | git commit-tree "$(git write-tree)" -p "$commit" -p "$onto")
unset GIT_INDEX_FILE
if [ ! -s "$results/unmerged" ]; then git reset --quiet "$merged" --; fi
git update-ref refs/heads/runyard-merge "$merged"
git bundle create --quiet "$results/result.bundle.draft" refs/heads/runyard-merge "^$commit" "^$onto"
git update-ref -d refs/heads/runyard-merge
rm -f "$results/merged-index" "$results/unmerged"
mv "$results/result.bundle.draft" "$results/result.bundle"
printf '{"changed":true,"head":"%s","notices":[]}\\n' "$merged" >"$results/result.json"
}
${SAY_AT_THE_END}`;

export interface MergeOptions {
  /** Paths as seen where it runs; the cache may be read-only. */
  readonly cachePath: string;
  readonly workspace: string;
  readonly resultsDir: string;
  /** The commit that the workspace is at. */
  readonly commit: string;
  readonly branch: string;
  readonly onto: { readonly branch: string; readonly commit: string };
  /** Whether `onto` has all of `commit`, so that there is nothing to merge. */
  readonly isForward: boolean;
  readonly message: string;
  readonly author?: CommitAuthor | undefined;
}

/** The words of a command that merges a commit into a workspace, whose agent is not there. Runs where the agent will run. Can be repeated. */
export function mergeArgv(options: MergeOptions): string[] {
  const { cachePath, workspace, commit, branch, onto, resultsDir, isForward, message, author } = options;
  const to = [requireObjectName(onto.commit), requireBranchName(onto.branch)];
  const words = [cachePath, workspace, requireObjectName(commit), requireBranchName(branch), ...to, resultsDir];
  const by = [author?.name ?? "", author?.email ?? ""];
  return ["/bin/sh", "-c", MERGE_SCRIPT, "sh", ...words, isForward ? "forward" : "merge", message, ...by];
}

/** Names that cannot be told apart, or not be shown: those with a control character, and those that are not UTF-8. */
// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const UNFIT = /[\u0000-\u001f\u007f\ufffd]/;
/** More files than that are for people. */
const MAX_CONFLICTS = 500;

/** Files that conflict, as paths from the top of the repository; none: the merge is clean. Throws an Error that says why they are too many or cannot be named. */
export function readConflicts(stdout: string): string[] {
  const files = stdout.split("\n").flatMap((line) => (line.startsWith(CONFLICT) ? [line.slice(CONFLICT.length)] : []));
  if (files.length === 0 && !stdout.split("\n").includes(CLEAN)) throw new Error("the merge said nothing of how it ended");
  if (files.length > MAX_CONFLICTS) throw new Error(`${files.length} files conflict, more than ${MAX_CONFLICTS}`);
  if (files.some((file) => UNFIT.test(file))) throw new Error("a file conflicts whose name has control characters or is not UTF-8");
  return files;
}
