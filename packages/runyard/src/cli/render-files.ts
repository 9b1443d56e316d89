import type { ChangedFile } from "@runyard/sdk/contract";
import { bytes, type Paint, plural, printableName } from "./output.ts";

const LETTER = { added: "A", modified: "M", deleted: "D", renamed: "R" } as const;

/** Changed files, one a line, with a sum at the end. Paths come last and are never cut. */
export function renderFiles(files: readonly ChangedFile[], paint: Paint): string[] {
  const added = (file: ChangedFile): string => (file.insertions === null ? "bin" : `+${file.insertions}`);
  const removed = (file: ChangedFile): string => (file.deletions === null ? "" : `−${file.deletions}`);
  const widest = (text: (file: ChangedFile) => string): number => files.reduce((most, file) => Math.max(most, text(file).length), 0);
  const [addedWidth, removedWidth] = [widest(added), widest(removed)];
  const size = (file: ChangedFile): string => (file.size === null ? "" : bytes(file.size));
  const sizeWidth = widest(size);
  const lines = files.map((file) => {
    const from = file.previousPath === null ? "" : `${printableName(file.previousPath)} → `;
    const counts = `${paint("green", added(file).padStart(addedWidth))} ${paint("red", removed(file).padStart(removedWidth))}`;
    return `${LETTER[file.status]}  ${counts}  ${paint("dim", size(file).padStart(sizeWidth))}  ${from}${printableName(file.path)}`;
  });
  const sum = (part: "insertions" | "deletions"): number => files.reduce((total, file) => total + (file[part] ?? 0), 0);
  return [...lines, paint("dim", `${plural(files.length, "file")} changed, +${sum("insertions")} −${sum("deletions")}`)];
}
