import { cutToWidth, displayWidth } from "./text.ts";

/** A stream that may be a terminal. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Text that scrolls, above a line at the bottom that changes in place. */
export interface Screen {
  /** Text of whole lines, or the next piece of one. */
  write(text: string): void;
  /** What stands at the bottom from now on; null for nothing. Without a terminal it is never shown. */
  setStatus(line: string | null): void;
  /** Leaves the cursor at the beginning of a line, with nothing below it. */
  close(): void;
}

/** Whether lines can be changed in place on a stream. */
export function isLive(stream: Output, env: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && env["TERM"] !== "dumb";
}

/** Columns for text on a stream: a terminal's, else what COLUMNS says, else as many as it takes. */
export function widthOf(stream: Output, env: NodeJS.ProcessEnv = process.env): number {
  const asked = Number(env["COLUMNS"]);
  const known = stream.columns || (Number.isInteger(asked) && asked > 0 ? asked : 0);
  if (known > 0) return Math.max(20, known);
  return stream.isTTY === true ? 80 : Number.POSITIVE_INFINITY;
}

/** Columns for sentences: very long lines are hard to read. */
export function proseWidthOf(stream: Output): number {
  const width = widthOf(stream);
  return width === Number.POSITIVE_INFINITY ? width : Math.min(width, 120);
}

export function openScreen(stream: Output): Screen {
  return isLive(stream) ? liveScreen(stream) : { write: (text) => void stream.write(text), setStatus: () => {}, close: () => {} };
}

/**
 * Whole lines are written once and for all, above an area that is drawn anew each time: the unfinished line
 * and the status. Both are cut to the terminal while they stand there, so that nothing in the area wraps.
 */
function liveScreen(stream: Output): Screen {
  let unfinished = "";
  let status: string | null = null;
  let drawn: readonly string[] = [];

  const erase = (): string => {
    if (drawn.length === 0) return "";
    const columns = widthOf(stream);
    // A terminal that became narrower has wrapped what was drawn.
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(displayWidth(line) / columns)), 0);
    return `\r${rows > 1 ? `\u001b[${rows - 1}A` : ""}\u001b[J`;
  };
  const redraw = (done: string): void => {
    const begin = erase();
    const columns = widthOf(stream) - 1;
    drawn = [...(unfinished === "" ? [] : [unfinished]), ...(status === null ? [] : [status])].map((line) => cutToWidth(line, columns));
    stream.write(begin + done + drawn.join("\n"));
  };
  return {
    write(text) {
      const all = unfinished + text;
      const end = all.lastIndexOf("\n") + 1;
      unfinished = all.slice(end);
      redraw(all.slice(0, end));
    },
    setStatus(line) {
      if (line === status) return;
      status = line;
      redraw("");
    },
    close() {
      stream.write(erase() + (unfinished === "" ? "" : `${unfinished}\n`));
      [unfinished, status, drawn] = ["", null, []];
    },
  };
}
