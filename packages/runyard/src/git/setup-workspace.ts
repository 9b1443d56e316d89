import { environmentLines, SAY_AT_THE_END } from "./git-environment.ts";
import { requireBranchName, requireObjectName } from "./names.ts";
import { SAY_LEFT_OUT } from "./left-out.ts";
import { MAKE_REPOSITORY } from "./workspace.ts";

const BEGIN = `set -u
umask 022
${environmentLines({ GIT_CONFIG_GLOBAL: "/dev/null", HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" })}
command -v git >/dev/null || { echo 'git was not found in the sandbox' >&2; exit 127; }
# On file systems that can, a copy shares its blocks with what it is of, until one of them is written. Attributes that mean something
# to whoever mounts a copy as a layer are not copied.
clone=
! cp --help 2>/dev/null | grep -q -e --reflink || clone='--reflink=auto --no-preserve=xattr'
exec 3>&1`;

/** Names of what is listed, one to a line behind a letter, for whoever started the script. */
const TELL = `tell() { tr '\\n\\000' '\\001\\n' | sed "s/^/$1 /" >&3; }`;

/**
 * Makes an end of set-up, and of nothing else: $1 cache, $2 workspace, $3 commit, $4 branch, $5 home. Tracked files are
 * those of the commit again, what git does not ignore is removed, and so is whatever is no file, folder or link; no file
 * gives its user's or group's rights to others; the repository is a new one. Says on stdout what it put back (`M`) and
 * what it removed (`R`).
 */
const SETTLE_SCRIPT = `${BEGIN}
cache=$1 workspace=$2 commit=$3 branch=$4 home=$5
${MAKE_REPOSITORY}
${TELL}
strip() {
find "$1" ! -type d ! -type f ! -type l -exec rm -f -- {} + &&
find "$1" \\( -type f -o -type d \\) \\( -perm -4000 -o -perm -2000 \\) -exec chmod u-s,g-s -- {} +
}
work() {
set -e
cd "$workspace"
rm -rf .git 2>/dev/null || { chmod -R u+rwX .git; rm -rf .git; }
for dir in . "$home"; do
  strip "$dir" 2>/dev/null || { chmod -R u+rwX "$dir"; strip "$dir"; }
done
make_repository
git symbolic-ref HEAD "refs/heads/$branch"
git reset --quiet --mixed "$commit" --
git diff --no-ext-diff --no-textconv --name-only -z | tell M
git reset --quiet --hard "$commit" --
git ls-files -z --others --exclude-standard --directory | tell R
git clean --quiet -ffd
}
${SAY_AT_THE_END}`;

/** The words of a command that ends set-up. Runs where the agent will run; paths are as seen there. */
export function settleArgv(options: {
  readonly cachePath: string;
  readonly workspace: string;
  readonly home: string;
  readonly commit: string;
  readonly branch: string;
}): string[] {
  const { cachePath, workspace, home, commit, branch } = options;
  const words = [cachePath, workspace, requireObjectName(commit), requireBranchName(branch), home];
  return ["/bin/sh", "-c", SETTLE_SCRIPT, "sh", ...words];
}

/** What ending set-up had to put right, as paths in the workspace. */
export interface Settled {
  /** Tracked files that it had changed. */
  readonly putBack: readonly string[];
  /** Files and folders (with `/`) that git does not ignore. */
  readonly removed: readonly string[];
}

/** Reads what `settleArgv`'s command said. */
export function readSettled(stdout: string): Settled {
  const lines = stdout.split("\n").filter((line) => line !== "");
  const named = (letter: string): string[] =>
    lines.filter((line) => line.startsWith(`${letter} `)).map((line) => line.slice(2).replaceAll("\u0001", "\n"));
  return { putBack: named("M"), removed: named("R") };
}

/**
 * Copies what set-up made: $1 workspace, $2 home, $3 an empty folder to copy into. Of the workspace that is what git
 * ignores, since everything else is the commit's.
 */
const KEEP_SCRIPT = `${BEGIN}
workspace=$1 home=$2 into=$3
empty() { find "$into" -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +; }
work() {
set -e
empty 2>/dev/null || { chmod -R u+rwX "$into"; empty; }
trap '[ $? = 0 ] || { chmod -R u+rwX "$into"; empty; } 2>/dev/null' EXIT
mkdir "$into/workspace" "$into/home"
cd "$workspace"
git ls-files -z --others --ignored --exclude-standard --directory |
  xargs -0 sh -c 'into=$0 clone=$1; shift; [ $# = 0 ] || exec cp -a $clone --parents -- "$@" "$into"' "$into/workspace" "$clone"
cp -a $clone -- "$home/." "$into/home/"
}
${SAY_AT_THE_END}`;

/** The words of a command that copies what set-up made into a folder. Runs behind `settleArgv`'s, before any agent. */
export function keepArgv(options: { readonly workspace: string; readonly home: string; readonly into: string }): string[] {
  const { workspace, home, into } = options;
  return ["/bin/sh", "-c", KEEP_SCRIPT, "sh", workspace, home, into];
}

/**
 * Makes a workspace of a snapshot and a commit: $1 cache, $2 workspace, $3 commit, $4 branch, $5 snapshot, $6 home, or
 * empty where that is to stay as it is. Whatever was in both is removed first; where it fails nothing is left. Its output
 * is for `readLeftOut`.
 */
const RESTORE_SCRIPT = `${BEGIN}
cache=$1 workspace=$2 commit=$3 branch=$4 snapshot=$5 home=$6
${MAKE_REPOSITORY}
${SAY_LEFT_OUT}
empty() { find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +; }
clear() { empty "$1" 2>/dev/null || { chmod -R u+rwX "$1"; empty "$1"; }; }
clear_all() { clear "$workspace" && { [ -z "$home" ] || clear "$home"; }; }
work() {
set -e
clear_all
trap '[ $? = 0 ] || clear_all 2>/dev/null' EXIT
cd "$workspace"
cp -a $clone -- "$snapshot/workspace/." .
[ -z "$home" ] || cp -a $clone -- "$snapshot/home/." "$home/"
rm -rf .git
make_repository
git symbolic-ref HEAD "refs/heads/$branch"
git reset --quiet --hard "$commit" --
# What this commit does not ignore any more.
git clean --quiet -ffd
say_left_out >&3
}
${SAY_AT_THE_END}`;

/** Removes from a workspace on a snapshot what its commit does not ignore any more, and says what: $1 workspace. */
const FIT_SCRIPT = `${BEGIN}
workspace=$1
${TELL}
work() {
set -e
cd "$workspace"
git ls-files -z --others --exclude-standard --directory | tell R
git clean --quiet -ffd
}
${SAY_AT_THE_END}`;

/** The words of a command that makes a workspace on a snapshot fit its commit; its output is for `readSettled`. Runs where the agent will run. */
export function fitArgv(workspace: string): string[] {
  return ["/bin/sh", "-c", FIT_SCRIPT, "sh", workspace];
}

/** The words of a command that makes a workspace of a snapshot, which may be read-only, and a commit. Runs where the agent will run. */
export function restoreArgv(options: {
  readonly cachePath: string;
  readonly workspace: string;
  /** Null: it stays as it is. */
  readonly home: string | null;
  readonly commit: string;
  readonly branch: string;
  readonly snapshot: string;
}): string[] {
  const { cachePath, workspace, home, commit, branch, snapshot } = options;
  const words = [cachePath, workspace, requireObjectName(commit), requireBranchName(branch), snapshot, home ?? ""];
  return ["/bin/sh", "-c", RESTORE_SCRIPT, "sh", ...words];
}
