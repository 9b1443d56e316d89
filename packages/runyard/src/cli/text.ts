import { stripVTControlCharacters } from "node:util";

const WIDE =
  /^(?:\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|.*\ufe0f)/u;
const NO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;
const PLAIN = /^[\u0020-\u007e]*$/;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Columns that a text takes in a terminal; colours take none. */
export function displayWidth(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(stripVTControlCharacters(text))) width += segmentWidth(segment);
  return width;
}

function segmentWidth(segment: string): number {
  if (WIDE.test(segment)) return 2;
  return NO_WIDTH.test(segment) ? 0 : 1;
}

/** The beginning of a line that fits into `width` columns; colours stay and are ended. */
export function cutToWidth(line: string, width: number): string {
  if (displayWidth(line) <= width) return line;
  let rest = width - 1;
  let cut = "";
  // eslint-disable-next-line no-control-regex
  for (const piece of line.split(/(\u001b\[[\d;]*m)/)) {
    if (piece.startsWith("\u001b")) {
      cut += piece;
      continue;
    }
    for (const { segment } of graphemes.segment(piece)) {
      rest -= segmentWidth(segment);
      if (rest < 0) return `${cut}…${line.includes("\u001b") ? "\u001b[0m" : ""}`;
      cut += segment;
    }
  }
  return cut;
}

export interface WrapOptions {
  /** Columns of the whole line; Infinity: lines stay as they are. */
  readonly width: number;
  /** What stands before every line. */
  readonly indent: string;
}

/** Breaks text between words as it streams in. A word that is longer than a line (a path, an address) stays whole. */
export interface Wrapper {
  /** What can be shown of the text so far: all but its last word, which may go on. */
  push(text: string): string;
  /** The rest; the wrapper then begins anew. */
  end(): string;
}

export function createWrapper({ width, indent }: WrapOptions): Wrapper {
  const indentWidth = displayWidth(indent);
  let column = 0;
  let blank = "";
  let word = "";
  let hanging = "";
  let isFirstWord = false;
  let inCode = false;

  const beginLine = (first: string): string => {
    if (/^(```|~~~)/.test(first)) inCode = !inCode;
    hanging = /^([-*+•]|\d{1,3}[.)])$/.test(first) ? `${blank}${" ".repeat(displayWidth(first) + 1)}` : blank;
    column = indentWidth + displayWidth(blank + first);
    isFirstWord = true;
    return indent + blank + first;
  };
  const takeWord = (): string => {
    if (word === "") return "";
    const [taken, before] = [word, blank];
    word = "";
    if (column === 0) {
      const begun = beginLine(taken);
      blank = "";
      return begun;
    }
    blank = "";
    // A word, a gap and its explanation: the explanation keeps its own column.
    if (isFirstWord && before.length > 1) hanging = " ".repeat(column - indentWidth + before.length);
    isFirstWord = false;
    const needed = column + displayWidth(before + taken);
    if (inCode || needed <= width) {
      column = needed;
      return before + taken;
    }
    column = indentWidth + displayWidth(hanging + taken);
    return `\n${indent}${hanging}${taken}`;
  };
  const endLine = (): string => {
    const last = takeWord();
    blank = "";
    column = 0;
    return last;
  };

  return {
    push(text) {
      let out = "";
      for (const [piece] of text.matchAll(/\n|[^\S\n]+|\S+/g)) {
        if (piece === "\n") out += `${endLine()}\n`;
        else if (/^\s/.test(piece)) {
          out += takeWord();
          blank += piece;
        } else word += piece;
      }
      return out;
    },
    end() {
      const out = endLine();
      inCode = false;
      return out;
    },
  };
}

/** Text broken between words, with the same indent before every line. */
export function wrap(text: string, options: WrapOptions): string {
  const wrapper = createWrapper(options);
  return wrapper.push(text) + wrapper.end();
}

/** Text behind a heading (which may be coloured); further lines stand below the text. */
export function wrapBehind(heading: string, text: string, width: number): string {
  const indent = " ".repeat(displayWidth(heading));
  return heading + wrap(text, { width, indent }).slice(indent.length);
}
