import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { publishedProgram } from "../../testing/published.ts";

/**
 * What a terminal of so many columns shows (and has scrolled away) after some output, line by line and without
 * colours. Knows what Runyard writes: carriage return, line feed, cursor up and to a column, erase to the end of the screen.
 */
export function screenOf(output: string, columns: number): string[] {
  const rows: string[][] = [[]];
  let [row, column] = [0, 0];
  // eslint-disable-next-line no-control-regex
  for (const [piece] of output.matchAll(/\u001b\[[\d;]*[A-Za-z]|\r|\n|[^\r\n\u001b]/gu)) {
    if (piece === "\r") column = 0;
    else if (piece === "\n") [row, column] = [row + 1, 0];
    else if (piece.startsWith("\u001b")) {
      if (piece.endsWith("A")) row -= Number(piece.slice(2, -1));
      else if (piece.endsWith("G")) column = Number(piece.slice(2, -1)) - 1;
      else if (piece.endsWith("J")) {
        rows.length = row + 1;
        rows[row]?.splice(column);
      } else if (!piece.endsWith("m")) throw new Error(`This terminal does not know ${JSON.stringify(piece)}`);
    } else {
      if (column >= columns) [row, column] = [row + 1, 0];
      (rows[row] ??= [])[column] = piece;
      column += 1;
    }
    while (rows.length <= row) rows.push([]);
  }
  return rows.map((cells) => Array.from(cells, (cell) => cell ?? " ").join(""));
}

export interface TerminalRun {
  readonly code: number | null;
  /** Everything that was written to the terminal. */
  readonly output: string;
}

export interface TerminalOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly columns: number;
  readonly cwd?: string;
  /** What is typed once the output matches. */
  readonly typing?: readonly { readonly at: RegExp; readonly keys: string }[];
}

/** Runs the program at a pseudo-terminal, as a person would. */
export async function runAtTerminal(words: readonly string[], { env, columns, cwd, typing = [] }: TerminalOptions): Promise<TerminalRun> {
  const quoted = [process.execPath, await publishedProgram(), ...words]
    .map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`)
    .join(" ");
  const { NO_COLOR: _, ...plain } = env;
  const child = spawn("script", ["-qec", `stty cols ${columns} rows 50; ${quoted}`, "/dev/null"], {
    env: { ...plain, TERM: "xterm-256color" },
    cwd,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const waiting = [...typing];
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    const next = waiting[0];
    if (next === undefined || !next.at.test(stripVTControlCharacters(output))) return;
    waiting.shift();
    child.stdin.write(next.keys);
  });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}
