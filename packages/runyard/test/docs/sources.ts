import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

/** Files below a folder of the repository with one of these endings, as paths from its top. */
export function filesBelow(folder: string, endings: readonly string[]): string[] {
  const entries = readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
    .toSorted();
}

export function readSource(file: string): string {
  return readFileSync(path.join(ROOT, file), "utf8");
}

/** What people run: without tests, and what only tests import. */
export function productSources(): string[] {
  const files = ["packages/runyard/src", "packages/runyard/bin", "packages/sdk/src"].flatMap((folder) =>
    filesBelow(folder, [".ts", ".mjs"]),
  );
  return files.filter((file) => !file.includes("/testing/") && !file.includes(".test."));
}
