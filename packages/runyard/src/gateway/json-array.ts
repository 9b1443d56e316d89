import { holdBytes, NOTHING, type Splitter } from "./sse.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** Splits the bytes of one JSON array into its elements, each with whatever stands before it; its end is what is left. */
export function createArraySplitter(): Splitter {
  const held = holdBytes();
  let depth = 0;
  let isInString = false;
  let isEscaped = false;

  /** True where an element ends with this byte. */
  const endsWith = (byte: number): boolean => {
    if (isEscaped) isEscaped = false;
    else if (isInString && byte === BACKSLASH) isEscaped = true;
    else if (byte === QUOTE) isInString = !isInString;
    else if (!isInString && OPENING.has(byte)) depth += 1;
    else if (!isInString && CLOSING.has(byte)) {
      depth -= 1;
      return depth === 1;
    }
    return false;
  };

  return {
    push(chunk) {
      const ends: number[] = [];
      for (let at = 0; at < chunk.length; at += 1) if (endsWith(chunk[at] as number)) ends.push(at + 1);
      const before = held.length;
      const last = ends.at(-1);
      if (last === undefined) {
        held.add(chunk);
        return NOTHING;
      }
      const bytes = held.take(chunk.subarray(0, last));
      held.add(chunk.subarray(last));
      const elements = ends.map((end, n) => bytes.subarray(n === 0 ? 0 : before + (ends[n - 1] ?? 0), before + end));
      return { bytes, events: () => elements };
    },
    rest: () => held.all(),
  };
}

/** The JSON of an element as the splitter gives it, or null for what is none: the array's end. */
export function elementIn(bytes: Buffer): string | null {
  const text = bytes.toString().replace(/^[\s[,]+/, "");
  return text.startsWith("{") ? text : null;
}
