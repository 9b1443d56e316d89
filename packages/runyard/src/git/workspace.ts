import { BOT_EMAIL, BOT_NAME, environmentLines, SAY_AT_THE_END } from "./git-environment.ts";
import { SAY_LEFT_OUT } from "./left-out.ts";
import { requireBranchName, requireObjectName } from "./names.ts";

/** Shell functions: a repository in the folder where one stands, which borrows the objects of the cache $cache. */
export const MAKE_REPOSITORY = `make_repository() {
format=sha1
[ "\${#commit}" = 64 ] && format=sha256
git -c init.defaultBranch=main init --quiet --template= "--object-format=$format" .
mkdir -p .git/info .git/objects/info
printf '%s/objects\\n' "$cache" >.git/objects/info/alternates
[ ! -f "$cache/shallow" ] || cp "$cache/shallow" .git/shallow
printf '[user]\\n\\tname = ${BOT_NAME}\\n\\temail = ${BOT_EMAIL}\\n' >>.git/config
printf '[commit]\\n\\tgpgSign = false\\n[tag]\\n\\tgpgSign = false\\n[gc]\\n\\tauto = 0\\n[maintenance]\\n\\tauto = false\\n' >>.git/config
}`;

/**
 * Makes a workspace: $1 cache, $2 workspace, $3 commit, $4 branch. What a half-made one left is removed
 * first, before any git looks at it; where it fails nothing is left. Its output is for `readLeftOut`.
 */
const WORKSPACE_SCRIPT = `set -u
umask 022
exec 3>&1
${environmentLines({ GIT_CONFIG_GLOBAL: "/dev/null", HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" })}
cache=$1 workspace=$2 commit=$3 branch=$4
command -v git >/dev/null || { echo 'git was not found in the sandbox' >&2; exit 127; }
empty() { find . -mindepth 1 -maxdepth 1 -exec rm -rf {} +; }
${MAKE_REPOSITORY}
${SAY_LEFT_OUT}

work() {
set -e
mkdir -p "$workspace"
cd "$workspace"
empty 2>/dev/null || { chmod -R u+rwX .; empty; }
trap '[ $? = 0 ] || empty 2>/dev/null' EXIT

make_repository
# Of a hundred files or more, git has four processes write them: a quarter faster on two cores.
git -c checkout.workers=4 checkout --quiet --no-track -b "$branch" "$commit" --
say_left_out >&3
}
${SAY_AT_THE_END}`;

/**
 * The words of a command that makes a workspace: the commit's files, on a new branch of a repository that
 * borrows the cache's objects. Runs where the agent will run; `cachePath` and `workspace` are paths as seen
 * there, and the cache may be read-only. Whatever was in the workspace is removed.
 */
export function prepareWorkspaceArgv(options: {
  readonly cachePath: string;
  readonly workspace: string;
  readonly commit: string;
  readonly branch: string;
}): string[] {
  const { cachePath, workspace, commit, branch } = options;
  return ["/bin/sh", "-c", WORKSPACE_SCRIPT, "sh", cachePath, workspace, requireObjectName(commit), requireBranchName(branch)];
}

/**
 * Sets the repository of a workspace that an agent has worked in to a commit, and leaves its files as they are:
 * $1 cache, $2 workspace, $3 commit, $4 branch, $5 `yes` where the agent's repository may be used. Else, and
 * where it does not work (any more), it gets a new one.
 */
const GO_ON_SCRIPT = `set -u
umask 022
${environmentLines({ GIT_CONFIG_GLOBAL: "/dev/null", HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" })}
cache=$1 workspace=$2 commit=$3 branch=$4 keep=$5
command -v git >/dev/null || { echo 'git was not found in the sandbox' >&2; exit 127; }
${MAKE_REPOSITORY}
to_commit() { git symbolic-ref HEAD "refs/heads/$branch" && git reset --quiet --mixed "$commit" --; }
patience=
command -v timeout >/dev/null && patience='timeout 60'
usable() { [ "$keep" = yes ] && [ -d .git ] && [ ! -h .git ] && [ ! -e .git/index.lock ] && $patience git rev-parse --verify --quiet HEAD >/dev/null && to_commit; }

work() {
cd "$workspace" || exit 1
usable && exit 0
set -e
rm -rf .git 2>/dev/null || { chmod -R u+rwX .git; rm -rf .git; }
make_repository
to_commit
}
${SAY_AT_THE_END}`;

/**
 * The words of a command that sets a workspace's own repository to the commit that its next turn goes on from.
 * Runs where the agent will run. `keep`: whether the repository that the agent left may be used, which is for
 * sandboxes only.
 */
export function goOnWorkspaceArgv(options: {
  readonly cachePath: string;
  readonly workspace: string;
  readonly commit: string;
  readonly branch: string;
  readonly keep: boolean;
}): string[] {
  const { cachePath, workspace, commit, branch, keep } = options;
  const words = [cachePath, workspace, requireObjectName(commit), requireBranchName(branch), keep ? "yes" : "no"];
  return ["/bin/sh", "-c", GO_ON_SCRIPT, "sh", ...words];
}
