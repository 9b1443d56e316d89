import { type Paint, printable } from "./output.ts";

/** A patch for a terminal, line by line as it comes: coloured, and with nothing in it that could steer the terminal. */
export async function* renderPatch(pieces: AsyncIterable<Uint8Array>, paint: Paint): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (lines.length > 0) yield lines.map((line) => `${renderPatchLine(line, paint)}\n`).join("");
  }
  rest += decoder.decode();
  if (rest !== "") yield `${renderPatchLine(rest, paint)}\n`;
}

/** The same of one line. */
export function renderPatchLine(text: string, paint: Paint): string {
  const line = printable(text);
  if (/^(diff |index |---|\+\+\+|new file|deleted file|rename |similarity )/.test(line)) return paint("bold", line);
  if (line.startsWith("+")) return paint("green", line);
  if (line.startsWith("-")) return paint("red", line);
  return line.startsWith("@@") ? paint("cyan", line) : line;
}
