import { lstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Removes a file of an agent's home, unless the agent has put a link or anything else in the place of its folders. */
export function removeHomeFile(home: string, file: string): void {
  let dir = home;
  for (const name of path.dirname(file).split("/")) {
    dir = path.join(dir, name);
    if (lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) return;
  }
  rmSync(path.join(home, file), { recursive: true, force: true });
}

/**
 * Writes a file into an agent's home, at a path below it. An agent of an earlier turn may have put links there:
 * none is followed, and what stands in the way is removed.
 */
export function writeHomeFile(home: string, file: { readonly path: string; readonly content: string }): void {
  const folders = path.dirname(file.path).split("/");
  let dir = home;
  for (const name of folders.filter((folder) => folder !== ".")) {
    dir = path.join(dir, name);
    if (lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) continue;
    rmSync(dir, { force: true });
    mkdirSync(dir);
  }
  const target = path.join(home, file.path);
  rmSync(target, { recursive: true, force: true });
  writeFileSync(target, file.content, { mode: 0o600, flag: "wx" });
}
