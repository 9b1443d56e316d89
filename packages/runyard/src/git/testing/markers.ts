import { mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";

/** Files that show which programs were run. Nothing of a sandbox reaches them. */
export interface Markers {
  /** A command that makes the marker of a name. */
  program(marker: string): string;
  /** Those that were made since the last look. */
  take(): string[];
}

export function openMarkers(root: string): Markers {
  const dir = path.join(root, "markers");
  mkdirSync(dir);
  return {
    program: (marker) => `touch ${path.join(dir, marker)}`,
    take() {
      const found = readdirSync(dir).toSorted();
      for (const name of found) rmSync(path.join(dir, name));
      return found;
    },
  };
}
