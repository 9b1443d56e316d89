import { type Paint, printable } from "./output.ts";

/** A patch for a terminal: coloured, and with nothing in it that could steer the terminal. */
export function renderPatch(patch: string, paint: Paint): string {
  return printable(patch)
    .trimEnd()
    .split("\n")
    .map((line) => paintLine(line, paint))
    .join("\n");
}

function paintLine(line: string, paint: Paint): string {
  if (/^(diff |index |---|\+\+\+|new file|deleted file|rename |similarity )/.test(line)) return paint("bold", line);
  if (line.startsWith("+")) return paint("green", line);
  if (line.startsWith("-")) return paint("red", line);
  return line.startsWith("@@") ? paint("cyan", line) : line;
}
