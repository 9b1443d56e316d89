import { GitError, type GitHost, type GitResult, runGitScript } from "./host-git.ts";

const STATUS_TIMEOUT_MS = 60_000;

/**
 * Looks at the repository of the folder $1: where it is; with $2, the commit that $2 names and what is checked out;
 * with $3, where $2 is what is checked out, what of its working tree is not committed. Each answer ends in a NUL, its
 * status and a NUL, and its complaints end in a NUL; the last answer has NULs of its own, and its status is the
 * script's. Comparing a file with its committed content would run the filters that the repository's configuration
 * defines, so they are taken away: an empty command is none. No name of a filter holds a newline.
 */
const LOOK_SCRIPT = `place=$1 start=$2 status=$3
answer() { printf '%s\\0%d\\0' "$2" "$1"; printf '\\0' >&2; }
common=$(git -C "$place" rev-parse --git-common-dir && echo .); code=$?
answer $code "\${common%??}"
[ $code = 0 ] || exit 0
top=$(git -C "$place" rev-parse --show-toplevel && echo .); tree=$?
top=\${top%??}
answer $tree "$top"
[ -n "$start" ] || exit 0
commit=$(git -C "$place" rev-parse --verify --quiet "$start^{commit}"); known=$?
answer $known "$commit"
current=$(git -C "$place" symbolic-ref --quiet HEAD); code=$?
answer $code "$current"
[ -n "$status" ] && [ $tree = 0 ] && [ $known = 0 ] || exit 0
[ "$start" = HEAD ] || [ "$start" = "$current" ] || exit 0
filters=$(git -C "$top" config --name-only --get-regexp '^filter\\..*\\.')
IFS='
'
set -f
set --
for key in $filters; do
  name=\${key#filter.}
  name=\${name%.*}
  case $name in *=*) echo 'it defines a filter whose name cannot be put on a command line' >&2; exit 1 ;; esac
  set -- "$@" -c "filter.$name.clean=" -c "filter.$name.smudge=" -c "filter.$name.process=" -c "filter.$name.required=false"
done
git -C "$top" --no-optional-locks "$@" status --porcelain -z --untracked-files=normal --ignore-submodules=all --no-renames
`;

export interface Look {
  /** How the git directory that holds objects and branches is found, from the folder on; or why there is none. */
  readonly common: GitResult;
  /** The top of the working tree; null where there is none. */
  readonly top: string | null;
  /** The commit that `start` names. */
  readonly commit: string | null;
  /** The branch that HEAD names, in full, also when it has no commit yet; null when detached. */
  readonly currentRef: string | null;
  /** What is not committed, as the beginning of a sentence; null for nothing. */
  readonly changes: string | null;
}

/**
 * Looks at the repository that a folder belongs to with one command of the host. `start`: the full name of a branch,
 * or `HEAD`; left out: only where the repository lies. `timeoutMs`: for
 * everything; then what is not committed is left out. Writes nothing, not even the index.
 */
export async function lookAt(host: GitHost, folder: string, start = "", timeoutMs = STATUS_TIMEOUT_MS): Promise<Look> {
  const ask = async (status: "status" | "", options: { readonly timeoutMs?: number } = {}): Promise<Look> =>
    readLook(await runGitScript(host, { script: LOOK_SCRIPT, words: [folder, start, status], args: ["rev-parse"] }, options));
  if (start === "") return ask("");
  try {
    return await ask("status", { timeoutMs });
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    // A working tree that takes too long to look through is no reason not to start.
    return { ...(await ask("")), changes: unknownChanges(new GitError(["status"], error)) };
  }
}

/** Answers before the last one. */
const ANSWERS = 4;

function readLook(result: GitResult): Look {
  const said = result.stdout.split("\0");
  const complaints = result.stderr.split("\0");
  const answers = Array.from({ length: ANSWERS }, (_, at): GitResult => {
    const status = said[2 * at + 1];
    return { stdout: said[2 * at] ?? "", stderr: complaints[at] ?? "", code: status === undefined ? result.code : Number(status) };
  });
  const [common, top, commit, currentRef] = answers as [GitResult, GitResult, GitResult, GitResult];
  const valueOf = (answer: GitResult): string | null => (answer.code === 0 ? answer.stdout : null);
  const entries = said.slice(2 * ANSWERS);
  const changes =
    entries.length > 0 && result.code !== 0
      ? unknownChanges(new GitError(["status"], { code: result.code, stderr: complaints[ANSWERS] ?? "" }))
      : countChanges(entries.filter((entry) => entry !== ""));
  return { common, top: valueOf(top), commit: valueOf(commit), currentRef: valueOf(currentRef), changes };
}

function unknownChanges(error: Error): string {
  return `Whether everything is committed could not be found out (${error.message})`;
}

/** `entries`: lines of `git status --porcelain`. */
function countChanges(entries: readonly string[]): string | null {
  const untracked = entries.filter((entry) => entry.startsWith("?? ")).length;
  const changed = entries.length - untracked;
  const parts = [changed > 0 ? `${changed} changed` : "", untracked > 0 ? `${untracked} untracked` : ""].filter((part) => part !== "");
  return parts.length === 0 ? null : `The working tree has files that are not committed (${parts.join(", ")})`;
}
