const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Splits a stream of bytes into events. */
export interface Splitter {
  push(chunk: Buffer): Buffer[];
  /** What came after the last whole event; one of its own when the stream ends well. */
  rest(): Buffer;
}

/**
 * Splits a stream of bytes into whole server-sent events, each with the blank line that ends it. Blank lines beyond that
 * stand before the next one: they are no events, however many come.
 */
export function createSseSplitter(): Splitter {
  const held = holdBytes();
  /** Of the last line, which is not whole yet: how long it is, and its last byte. */
  let lineBytes = 0;
  let lastByte = 0;
  /** The event that is not whole yet has a line that is not blank. */
  let hasBegun = false;
  return {
    push(chunk) {
      const events: Buffer[] = [];
      let eventStart = 0;
      let lineStart = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, lineStart)) {
        const length = lineBytes + end - lineStart;
        const isBlank = length === 0 || (length === 1 && (end > 0 ? chunk[end - 1] : lastByte) === CARRIAGE_RETURN);
        lineBytes = 0;
        lineStart = end + 1;
        if (isBlank && hasBegun) {
          events.push(held.take(chunk.subarray(eventStart, lineStart)));
          eventStart = lineStart;
        }
        hasBegun = !isBlank;
      }
      lineBytes += chunk.length - lineStart;
      lastByte = chunk.at(-1) ?? lastByte;
      held.add(chunk.subarray(eventStart));
      return events;
    },
    rest: () => held.all(),
  };
}

/** Bytes that wait for those that end them. However small the pieces are, each byte is copied a few times at most. */
interface HeldBytes {
  add(bytes: Buffer): void;
  /** All that was held, with these behind it; then nothing is held. */
  take(bytes: Buffer): Buffer;
  all(): Buffer;
}

export function holdBytes(): HeldBytes {
  let room: Buffer = Buffer.alloc(0);
  let used = 0;
  const held: HeldBytes = {
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
