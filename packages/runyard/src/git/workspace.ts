import { BOT_EMAIL, BOT_NAME, environmentLines, SAY_AT_THE_END } from "./git-environment.ts";
import { requireBranchName, requireObjectName } from "./names.ts";

/**
 * Makes a workspace: $1 cache, $2 workspace, $3 commit, $4 branch. What a half-made one left is removed
 * first, before any git looks at it; where it fails nothing is left.
 */
const WORKSPACE_SCRIPT = `set -u
umask 022
${environmentLines({ GIT_CONFIG_GLOBAL: "/dev/null", HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" })}
cache=$1 workspace=$2 commit=$3 branch=$4
command -v git >/dev/null || { echo 'git was not found in the sandbox' >&2; exit 127; }
empty() { find . -mindepth 1 -maxdepth 1 -exec rm -rf {} +; }

work() {
set -e
mkdir -p "$workspace"
cd "$workspace"
empty 2>/dev/null || { chmod -R u+rwX .; empty; }
trap '[ $? = 0 ] || empty 2>/dev/null' EXIT

format=sha1
[ "\${#commit}" = 64 ] && format=sha256
git -c init.defaultBranch=main init --quiet --template= "--object-format=$format" .
mkdir -p .git/info .git/objects/info
printf '%s/objects\\n' "$cache" >.git/objects/info/alternates
[ ! -f "$cache/shallow" ] || cp "$cache/shallow" .git/shallow
printf '[user]\\n\\tname = ${BOT_NAME}\\n\\temail = ${BOT_EMAIL}\\n' >>.git/config
printf '[commit]\\n\\tgpgSign = false\\n[tag]\\n\\tgpgSign = false\\n[gc]\\n\\tauto = 0\\n[maintenance]\\n\\tauto = false\\n' >>.git/config
git checkout --quiet --no-track -b "$branch" "$commit" --
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
