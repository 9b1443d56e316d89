/** Collects a program's output and keeps its beginning and its end; what lies between is counted, not kept. */
export interface OutputKeeper {
  push(chunk: Uint8Array): void;
  /** What was kept, with a line in the middle that says how much is missing. */
  text(): string;
  /** Bytes that have come in. */
  size(): number;
}

export function keepOutput(limits: { headBytes: number; tailBytes: number }): OutputKeeper {
  let head = Buffer.alloc(0);
  let tail: Buffer[] = [];
  let tailLength = 0;
  let size = 0;
  const lastBytes = (): Buffer => {
    const joined = Buffer.concat(tail);
    return joined.subarray(Math.max(0, joined.length - limits.tailBytes));
  };
  return {
    push(chunk) {
      size += chunk.length;
      const room = limits.headBytes - head.length;
      if (room > 0) head = Buffer.concat([head, chunk.subarray(0, room)]);
      const rest = Buffer.from(chunk.subarray(Math.max(0, room)));
      if (rest.length === 0) return;
      tail.push(rest);
      tailLength += rest.length;
      if (tailLength <= 2 * limits.tailBytes) return;
      tail = [Buffer.from(lastBytes())];
      tailLength = limits.tailBytes;
    },
    text() {
      const end = lastBytes();
      const missing = size - head.length - end.length;
      if (missing === 0) return decode(Buffer.concat([head, end]));
      return `${decode(head)}\n[... ${missing} bytes left out ...]\n${decode(fromCharacterStart(end))}`;
    },
    size: () => size,
  };
}

/** UTF-8 text without a half character at its end; NUL, which no log takes, becomes the replacement character. */
function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true }).replaceAll("\0", "\uFFFD");
}

function fromCharacterStart(bytes: Buffer): Buffer {
  let start = 0;
  while (start < 3 && start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return bytes.subarray(start);
}

/** The text, or its beginning and end where it is longer than `maxBytes`. */
export function cutMiddle(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text;
  const headBytes = Math.floor(maxBytes / 2);
  const keeper = keepOutput({ headBytes, tailBytes: maxBytes - headBytes });
  keeper.push(Buffer.from(text));
  return keeper.text();
}

/** The first `maxChars` characters, with an ellipsis where something is missing. */
export function cutEnd(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  return `${text.slice(0, maxChars - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** One line for a title. */
export function oneLine(text: string, maxChars = 120): string {
  return cutEnd(text.replace(/\s+/g, " ").trim(), maxChars);
}

/** The same value with long strings cut, for showing what a tool was given. */
export function cutStrings(value: unknown, maxChars = 2_000): unknown {
  if (typeof value === "string") return cutEnd(value, maxChars);
  if (Array.isArray(value)) return value.map((item) => cutStrings(item, maxChars));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, cutStrings(item, maxChars)]));
}
