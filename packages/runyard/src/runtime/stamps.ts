import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";

/** What tells cheaply that a file has not changed. */
export type Stamp = readonly [file: string, sizeBytes: number, mtimeMs: number];

/** A runtime directory, what it was made from and what it consists of. */
export interface Stamps {
  readonly hash: string;
  readonly files: readonly Stamp[];
}

/** The files whose change means that something else must be built; of a package of npm, its package.json stands for all. */
export function stampedFiles(inputs: readonly string[]): string[] {
  const files = inputs.map((input) => {
    const match = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
    return match === null ? input : path.join(match[1] ?? "", "package.json");
  });
  return [...new Set(files)].sort();
}

export function stampOf(file: string): Stamp {
  const { size, mtimeMs } = statSync(file);
  return [file, size, mtimeMs];
}

/** The stamps in a file when all of them still hold; undefined when there are none, or something changed. */
export function readFreshStamps(file: string): Stamps | undefined {
  try {
    const stamps = JSON.parse(readFileSync(file, "utf8")) as Stamps;
    const isFresh = stamps.files.every(([name, size, mtimeMs]) => {
      const now = statSync(name, { throwIfNoEntry: false });
      return now?.size === size && now.mtimeMs === mtimeMs;
    });
    return isFresh ? stamps : undefined;
  } catch {
    // Missing, or not written by this version.
    return undefined;
  }
}

export function writeStamps(file: string, stamps: Stamps): void {
  const fresh = `${file}.${process.pid}.new`;
  writeFileSync(fresh, JSON.stringify(stamps), { mode: 0o600 });
  renameSync(fresh, file);
}
