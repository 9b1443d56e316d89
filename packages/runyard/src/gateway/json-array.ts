import type { Splitter } from "./sse.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** Splits the bytes of one JSON array into its elements, each with whatever stands before it; its end is what is left. */
export function createArraySplitter(): Splitter {
  let held: Buffer = Buffer.alloc(0);
  /** Up to here `held` was looked at. */
  let seen = 0;
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
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const elements: Buffer[] = [];
      let start = 0;
      for (; seen < held.length; seen += 1) {
        if (!endsWith(held[seen] as number)) continue;
        elements.push(held.subarray(start, seen + 1));
        start = seen + 1;
      }
      const bytes = held.subarray(0, start);
      held = held.subarray(start);
      seen = held.length;
      return { bytes, events: () => elements };
    },
    rest: () => held,
  };
}

/** The JSON of an element as the splitter gives it, or null for what is none: the array's end. */
export function elementIn(bytes: Buffer): string | null {
  const text = bytes.toString().replace(/^[\s[,]+/, "");
  return text.startsWith("{") ? text : null;
}
