const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Whole events that follow each other. */
export interface Block {
  /** All of them, in one piece. */
  readonly bytes: Buffer;
  events(): Buffer[];
}

/** Splits a stream of bytes where events end. */
export interface Splitter {
  /** Those that are whole now; none: the block is empty. */
  push(chunk: Buffer): Block;
  /** What came after the last whole event; one of its own when the stream ends well. */
  rest(): Buffer;
}

/** Splits a stream of bytes into whole server-sent events, each with the blank line that ends it. */
export function createSseSplitter(): Splitter {
  let held: Buffer = Buffer.alloc(0);
  return {
    push(chunk) {
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const whole = bytes.subarray(0, lastEnd(bytes, held.length));
      held = bytes.subarray(whole.length);
      return { bytes: whole, events: () => eventsIn(whole) };
    },
    rest: () => held,
  };
}

/** Where the last event ends of which the end came behind the first `seen` bytes; 0: none did. */
function lastEnd(bytes: Buffer, seen: number): number {
  for (let at = bytes.lastIndexOf(NEWLINE); at >= seen; at = at === 0 ? -1 : bytes.lastIndexOf(NEWLINE, at - 1)) {
    const before = bytes[at - 1] === CARRIAGE_RETURN ? at - 2 : at - 1;
    if (before < 0 || bytes[before] === NEWLINE) return at + 1;
  }
  return 0;
}

function eventsIn(block: Buffer): Buffer[] {
  const events: Buffer[] = [];
  let eventStart = 0;
  let lineStart = 0;
  for (let end = block.indexOf(NEWLINE); end !== -1; end = block.indexOf(NEWLINE, lineStart)) {
    const isBlank = end === lineStart || (end === lineStart + 1 && block[lineStart] === CARRIAGE_RETURN);
    lineStart = end + 1;
    if (!isBlank) continue;
    events.push(block.subarray(eventStart, lineStart));
    eventStart = lineStart;
  }
  return events;
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
