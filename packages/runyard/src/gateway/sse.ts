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

/** No event is whole yet. */
export const NOTHING: Block = { bytes: Buffer.alloc(0), events: () => [] };

/**
 * Splits a stream of bytes into whole server-sent events, each with the blank line that ends it. Blank lines beyond that
 * are no events, however many come: they stand before the next one, or in one piece behind the last.
 */
export function createSseSplitter(): Splitter {
  const held = holdBytes();
  /** The last two bytes of all that came; the beginning of a stream is the beginning of a line. */
  let tail: readonly [number, number] = [NEWLINE, NEWLINE];
  return {
    push(chunk) {
      const end = lastEnd(chunk, tail);
      tail = [byteAt(chunk, chunk.length - 2, tail), byteAt(chunk, chunk.length - 1, tail)];
      if (end === 0) {
        held.add(chunk);
        return NOTHING;
      }
      const bytes = held.take(chunk.subarray(0, end));
      held.add(chunk.subarray(end));
      return { bytes, events: () => eventsIn(bytes) };
    },
    rest: () => held.all(),
  };
}

/** A byte of a chunk, or of the two before it. */
function byteAt(chunk: Buffer, at: number, tail: readonly [number, number]): number {
  return (at < 0 ? tail[at + 2] : chunk[at]) ?? NEWLINE;
}

/** Where the last blank line of a chunk ends; 0: it has none. */
function lastEnd(chunk: Buffer, tail: readonly [number, number]): number {
  for (let at = chunk.lastIndexOf(NEWLINE); at !== -1; at = at === 0 ? -1 : chunk.lastIndexOf(NEWLINE, at - 1)) {
    const before = byteAt(chunk, at - 1, tail);
    if (before === NEWLINE || (before === CARRIAGE_RETURN && byteAt(chunk, at - 2, tail) === NEWLINE)) return at + 1;
  }
  return 0;
}

function eventsIn(block: Buffer): Buffer[] {
  const events: Buffer[] = [];
  let eventStart = 0;
  let lineStart = 0;
  let hasBegun = false;
  for (let end = block.indexOf(NEWLINE); end !== -1; end = block.indexOf(NEWLINE, lineStart)) {
    const isBlank = end === lineStart || (end === lineStart + 1 && block[lineStart] === CARRIAGE_RETURN);
    lineStart = end + 1;
    if (isBlank && hasBegun) {
      events.push(block.subarray(eventStart, lineStart));
      eventStart = lineStart;
    }
    hasBegun = !isBlank;
  }
  if (eventStart < block.length) events.push(block.subarray(eventStart));
  return events;
}

/** Bytes that wait for those that end them. However small the pieces are, each byte is copied a few times at most. */
interface HeldBytes {
  readonly length: number;
  add(bytes: Buffer): void;
  /** All that was held, with these behind it; then nothing is held. */
  take(bytes: Buffer): Buffer;
  all(): Buffer;
}

export function holdBytes(): HeldBytes {
  let room: Buffer = Buffer.alloc(0);
  let used = 0;
  const held: HeldBytes = {
    get length() {
      return used;
    },
    add(bytes) {
      if (used + bytes.length > room.length) {
        const larger = Buffer.alloc(Math.max(2 * room.length, used + bytes.length));
        room.copy(larger, 0, 0, used);
        room = larger;
      }
      bytes.copy(room, used);
      used += bytes.length;
    },
    take(bytes) {
      if (used === 0) return bytes;
      held.add(bytes);
      const all = held.all();
      room = Buffer.alloc(0);
      used = 0;
      return all;
    },
    all: () => room.subarray(0, used),
  };
  return held;
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
