import { requireObjectName } from "./names.ts";

/** A file or symbolic link of a commit: the name of its object, and its bytes. */
export interface ListedFile {
  readonly path: string;
  readonly name: string;
  readonly size: number;
}

/** Words for git that list these paths of a commit, from the top of its tree; to be run with `GIT_LITERAL_PATHSPECS`. */
export function listFilesArgs(cachePath: string, commit: string, paths: readonly string[]): string[] {
  return ["--git-dir", cachePath, "ls-tree", "-l", "-z", "--full-tree", requireObjectName(commit), "--", ...paths];
}

/** What that says of files. */
export function parseListedFiles(listed: string): ListedFile[] {
  return listed.split("\0").flatMap((line) => {
    // A name may hold tabs of its own.
    const [, about = "", path] = /^([^\t]*)\t([\s\S]*)$/.exec(line) ?? [];
    const [, type, name = "", size] = about.split(/ +/);
    return path !== undefined && type === "blob" ? [{ path, name, size: Number(size) }] : [];
  });
}
