import type { Redactor } from "../redact.ts";

/** A text in the data of one event of a stream. */
interface Leaf {
  readonly line: number;
  readonly keys: readonly (string | number)[];
  readonly text: string;
}

interface EventLine {
  readonly start: number;
  readonly end: number;
  value: unknown;
  isChanged: boolean;
}

/**
 * Hides secrets that stand in several events of a stream, one piece in each, as models say them: texts at the same
 * place of events that follow each other are read as one. What comes back is as long as what was given, or is just that.
 */
export function hideInStream(bytes: Buffer, redactor: Redactor): Buffer {
  const lines = eventLines(bytes);
  const places = new Map<string, Leaf[]>();
  for (const [line, { value }] of lines.entries()) {
    for (const leaf of leavesOf(value, line)) {
      const place = JSON.stringify(leaf.keys);
      const known = places.get(place);
      if (known === undefined) places.set(place, [leaf]);
      else known.push(leaf);
    }
  }
  for (const leaves of places.values()) if (leaves.length > 1) hideAcross(leaves, lines, redactor);
  if (!lines.some(({ isChanged }) => isChanged)) return bytes;
  const hidden = Buffer.from(bytes);
  for (const { start, end, value, isChanged } of lines) {
    if (!isChanged) continue;
    const json = Buffer.from(JSON.stringify(value));
    // A star is never longer than what it stands for; blanks behind JSON say nothing. What was written more shortly than it is now is left out.
    const fits = json.length <= end - start;
    hidden.fill(" ", start, end);
    (fits ? json : Buffer.from("{}")).copy(hidden, start);
  }
  return hidden;
}

function hideAcross(leaves: readonly Leaf[], lines: readonly EventLine[], redactor: Redactor): void {
  const whole = leaves.map(({ text }) => text).join("");
  const found = redactor.findInText(whole);
  if (found.length === 0) return;
  let from = 0;
  for (const { line, keys, text } of leaves) {
    let hidden = "";
    let at = from;
    const to = from + text.length;
    for (const { start, end } of found) {
      if (end <= from || start >= to) continue;
      const [begin, stop] = [Math.max(start, from), Math.min(end, to)];
      hidden += whole.slice(at, begin) + "*".repeat(stop - begin);
      at = stop;
    }
    hidden += whole.slice(at, to);
    const event = lines[line];
    if (hidden !== text && event !== undefined) {
      setAt(event.value, keys, hidden);
      event.isChanged = true;
    }
    from = to;
  }
}

/** The lines `data: {…}` of a stream, where their JSON stands in it and what it is. */
function eventLines(bytes: Buffer): EventLine[] {
  const lines: EventLine[] = [];
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(0x0a, start);
    const next = newline < 0 ? bytes.length : newline + 1;
    const text = bytes.toString("utf8", start, next);
    const [, before = "", json] = /^(data: ?)(\{.*\})\s*$/s.exec(text) ?? [];
    const value = json === undefined ? undefined : parsed(json);
    if (json !== undefined && value !== undefined) {
      const jsonStart = start + before.length;
      lines.push({ start: jsonStart, end: jsonStart + Buffer.byteLength(json), value, isChanged: false });
    }
    start = next;
  }
  return lines;
}

function* leavesOf(value: unknown, line: number, keys: readonly (string | number)[] = []): Generator<Leaf> {
  if (typeof value === "string") yield { line, keys, text: value };
  else if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* leavesOf(item, line, [...keys, index]);
  else if (typeof value === "object" && value !== null)
    for (const [key, item] of Object.entries(value)) yield* leavesOf(item, line, [...keys, key]);
}

function setAt(value: unknown, keys: readonly (string | number)[], text: string): void {
  const last = keys.at(-1);
  const holder = keys.slice(0, -1).reduce((inner, key) => (inner as Record<string | number, unknown>)[key], value);
  if (last !== undefined) (holder as Record<string | number, unknown>)[last] = text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
