import { matchesGlob } from "./glob.ts";

/**
 * The path as policies see it: relative to the workspace (`.` for the workspace itself), or absolute where it lies
 * outside. What lies in one of the `further` folders belongs to the workspace too: it is relative, and begins with `../`.
 * `..` and `.` are resolved by their names alone: what is behind a link is not looked at.
 */
export function placeInWorkspace(path: string, workspace: string, further: readonly string[] = []): string {
  const root = names(workspace);
  const all = names(path.startsWith("/") ? path : `${workspace}/${path}`);
  if (isBelow(all, root)) return all.slice(root.length).join("/") || ".";
  if (!further.some((folder) => isBelow(all, names(folder)))) return `/${all.join("/")}`;
  const shared = root.findIndex((name, index) => all[index] !== name);
  return [...root.slice(shared).map(() => ".."), ...all.slice(shared)].join("/");
}

function isBelow(all: readonly string[], folder: readonly string[]): boolean {
  return folder.every((name, index) => all[index] === name);
}

/** True for a path of `placeInWorkspace` that fits: patterns from `/` are for what lies outside, all others for the inside. */
export function matchesPath(pattern: string, path: string): boolean {
  return pattern.startsWith("/") === path.startsWith("/") && matchesGlob(pattern, path, { isPath: true });
}

function names(path: string): string[] {
  const all: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") all.pop();
    else if (name !== "" && name !== ".") all.push(name);
  }
  return all;
}
