import { git, type GitHost } from "./host-git.ts";

const STATUS_TIMEOUT_MS = 60_000;

/** The question for the settings of the filters that a repository's configuration defines; a name that holds a newline is none. */
export const FILTERS = ["config", "--name-only", "--get-regexp", "^filter\\."] as const;

/**
 * Settings that take away every filter which the repository's configuration defines: comparing a file with
 * its committed content would run them. An empty command is none.
 */
function withoutFilters(filters: string): string[] {
  const names = new Set<string>();
  for (const key of filters.split("\n")) {
    const name = /^filter\.(.*)\.[^.]+$/s.exec(key)?.[1];
    if (name !== undefined) names.add(name);
  }
  if ([...names].some((name) => name.includes("="))) throw new Error("it defines a filter whose name cannot be put on a command line");
  return [...names].flatMap((name) =>
    ["clean=", "smudge=", "process=", "required=false"].flatMap((setting) => ["-c", `filter.${name}.${setting}`]),
  );
}

/**
 * What of a working tree is not committed, as the beginning of a sentence; null for nothing. `filters` answers
 * `FILTERS`. Writes nothing, not even the index.
 */
export async function uncommittedChanges(host: GitHost, root: string, filters: string): Promise<string | null> {
  let status: string;
  try {
    const unfiltered = withoutFilters(filters);
    const words = ["status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=all", "--no-renames"];
    status = await git(host, ["--no-optional-locks", ...unfiltered, ...words], { cwd: root, timeoutMs: STATUS_TIMEOUT_MS });
  } catch (error) {
    return `Whether everything is committed could not be found out (${(error as Error).message})`;
  }
  const entries = status.split("\0").filter((entry) => entry !== "");
  const untracked = entries.filter((entry) => entry.startsWith("?? ")).length;
  const changed = entries.length - untracked;
  const parts = [changed > 0 ? `${changed} changed` : "", untracked > 0 ? `${untracked} untracked` : ""].filter((part) => part !== "");
  return parts.length === 0 ? null : `The working tree has files that are not committed (${parts.join(", ")})`;
}
