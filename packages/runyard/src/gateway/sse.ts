const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Splits a stream of bytes into events. */
export interface Splitter {
  push(chunk: Buffer): Buffer[];
  /** What came after the last whole event; one of its own when the stream ends well. */
  rest(): Buffer;
}

/** Splits a stream of bytes into whole server-sent events, each with the blank line that ends it. */
export function createSseSplitter(): Splitter {
  let held: Buffer = Buffer.alloc(0);
  /** Start of the first line of `held` that is not whole yet. */
  let lineStart = 0;
  return {
    push(chunk) {
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const events: Buffer[] = [];
      let eventStart = 0;
      for (let end = bytes.indexOf(NEWLINE, lineStart); end !== -1; end = bytes.indexOf(NEWLINE, lineStart)) {
        const isBlank = end === lineStart || (end === lineStart + 1 && bytes[lineStart] === CARRIAGE_RETURN);
        lineStart = end + 1;
        if (!isBlank) continue;
        events.push(bytes.subarray(eventStart, lineStart));
        eventStart = lineStart;
      }
      held = bytes.subarray(eventStart);
      lineStart -= eventStart;
      return events;
    },
    rest: () => held,
  };
}

/** The event's data, its lines joined by newlines; null for an event without data, a comment for example. */
export function dataOf(event: Buffer): string | null {
  const lines = event
    .toString()
    .split(/\r?\n/)
    .filter((line) => line === "data" || line.startsWith("data:"))
    .map((line) => line.slice("data:".length).replace(/^ /, ""));
  return lines.length === 0 ? null : lines.join("\n");
}
