const REPLACEMENT = "[redacted]";

/** Shorter "keys" are placeholders of local model servers ("none", "ollama"): words that answers may contain. */
const MIN_KEY_CHARS = 12;
/** Lines of a secret of several lines are looked for one by one, where they are this long; the armour of a key says nothing. */
const MIN_LINE_CHARS = 16;
const ARMOUR = /^-+(?:BEGIN|END) [^-]+-+$/;

/** A secret that people gave to a run. */
export interface NamedSecret {
  readonly name: string;
  /** Any text of at least 6 characters. */
  readonly value: string;
}

/** Where a secret stands in a text. */
export interface Found {
  readonly start: number;
  readonly end: number;
  /** What stands in its place for readers. */
  readonly label: string;
}

/**
 * Takes secrets out of bytes and texts, in the spellings in which programs echo them. What is cut into pieces must be
 * put together before: `beginningAtEnd` says how much of a piece is not decided yet.
 */
export interface Redactor {
  bytes(input: Buffer): Buffer;
  text(input: string): string;
  /** All texts of a JSON value, names of fields included; the value itself where it holds no secret. */
  json<T>(value: T): T;
  /** Every place of a secret, in order and apart from each other, in bytes that are given as latin1. */
  find(latin1: string): readonly Found[];
  /** The same in a text. */
  findInText(text: string): readonly Found[];
  /** How many of a text's last characters may be the beginning of a secret that goes on. */
  beginningAtEnd(text: string): number;
  /** Length of the longest spelling, in bytes. */
  readonly longest: number;
  /** Secrets of a run are among what is looked for. */
  readonly hasSecrets: boolean;
  /** There is nothing to look for. */
  readonly isIdle: boolean;
}

/** How a secret may be spelled, as the latin1 of its bytes. */
interface Needle {
  readonly text: string;
  readonly label: string;
}

/**
 * A redactor for keys (null ones and ones of fewer than 12 characters are left alone) and for the secrets of a run. Those
 * of a run are found through any mixture of percent-encoding, escapes of JSON and line breaks, too.
 */
export function createRedactor(keys: readonly (string | null | Needle)[], secrets: readonly NamedSecret[] = []): Redactor {
  const exact = unique([...keys.flatMap(keyNeedles), ...secrets.flatMap(exactNeedles)]);
  const loose = unique(secrets.flatMap(looseNeedles));
  const all = [...exact, ...loose];
  const longest = Math.max(0, ...all.map(({ text }) => text.length));
  const isIn = createFinder(exact.map((one) => one.text));
  const find = (latin1: string): Found[] => {
    const found = placesOf(latin1, exact);
    if (loose.length > 0) found.push(...looselyFound(latin1, loose));
    return joined(found);
  };
  const findInText = (text: string): Found[] => {
    const latin1 = latin1Of(text);
    const found = find(latin1);
    return latin1.length === text.length ? found : found.map((place) => inCharacters(latin1, place));
  };
  const bytes = (input: Buffer): Buffer => {
    // Most of what is told has no key in it, and most runs have no secrets, which are spelled in more ways than one pass finds.
    if (loose.length === 0 && !isIn(input)) return input;
    // latin1 maps bytes to characters one to one, so what is not replaced stays as it was.
    const latin1 = input.toString("latin1");
    const found = find(latin1);
    return found.length === 0 ? input : Buffer.from(replaced(latin1, found), "latin1");
  };
  const text = (input: string): string => {
    if (all.length === 0 || input === "") return input;
    const found = findInText(input);
    return found.length === 0 ? input : replaced(input, found);
  };
  return {
    bytes,
    text,
    json: (value) => (all.length === 0 ? value : (redactJson(value, text) as typeof value)),
    find,
    findInText,
    beginningAtEnd: (input) => beginningOf(input, all),
    longest,
    hasSecrets: loose.length > 0,
    isIdle: all.length === 0,
  };
}

/** Takes keys out of bytes that come in pieces, also where a piece ends in the middle of one. */
export interface StreamRedactor {
  /** What can be passed on: all but an end that may be the beginning of a key. */
  push(piece: Buffer): Buffer;
  /** The rest. */
  end(): Buffer;
}

/** With `keepsLength` stars stand for a key, as many as it has bytes. */
export function createStreamRedactor(keys: readonly string[], { keepsLength = false } = {}): StreamRedactor {
  const needles = unique(keys.flatMap(keyNeedles));
  const marked = (found: readonly Found[]): readonly Found[] =>
    keepsLength ? found.map((one) => ({ ...one, label: "*".repeat(one.end - one.start) })) : found;
  let held = "";
  return {
    push(piece) {
      const whole = held + piece.toString("latin1");
      const text = replaced(whole, marked(joined(placesOf(whole, needles))));
      const passed = text.length - beginningAtEnd(text, needles);
      held = text.slice(passed);
      return Buffer.from(text.slice(0, passed), "latin1");
    },
    end: () => Buffer.from(held, "latin1"),
  };
}

function keyNeedles(key: string | null | Needle): Needle[] {
  const { text, label } = typeof key === "object" ? (key ?? { text: "", label: "" }) : { text: key, label: REPLACEMENT };
  if (text.length < MIN_KEY_CHARS) return [];
  const json = inJson(text);
  const spelled = [text, json, json.replaceAll("/", "\\/"), encodeURIComponent(text), ...base64Spellings(text)];
  return [...spelled, ...base64Spellings(text).map((base64) => base64.replaceAll("/", "\\/"))].map((one) => needle(one, label));
}

/** As it is, inside a JSON string, inside one that is inside another, and in base64. */
function exactNeedles({ name, value }: NamedSecret): Needle[] {
  const label = `[secret ${name}]`;
  const spelled = [value, ...longLinesOf(value)].flatMap((text) => [text, inJson(text), inJson(inJson(text))]);
  return [...spelled, ...base64Spellings(value)].map((text) => needle(text, label));
}

/** As it is once escapes are undone and line breaks are taken out. */
function looseNeedles({ name, value }: NamedSecret): Needle[] {
  const label = `[secret ${name}]`;
  const spelled = [value, ...longLinesOf(value)].flatMap((text) => [withoutBreaks(text), withoutBreaks(inJson(text))]);
  return [...spelled, ...base64Spellings(value)].map((text) => needle(text, label));
}

function longLinesOf(value: string): string[] {
  const lines = value.split(/\r?\n/);
  if (lines.length === 1) return [];
  return lines.map((line) => line.trim()).filter((line) => line.length >= MIN_LINE_CHARS && !ARMOUR.test(line));
}

function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function withoutBreaks(text: string): string {
  return text.replaceAll(BREAKS, "");
}

function needle(text: string, label: string): Needle {
  return { text: latin1Of(text), label };
}

function unique(needles: readonly Needle[]): Needle[] {
  return [...new Map(needles.filter(({ text }) => text !== "").map((one) => [one.text, one])).values()];
}

function latin1Of(text: string): string {
  return /^[\0-\x7f]*$/.test(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** However many bytes stand before it, since three bytes share four characters; without those that its neighbours have a part in. */
function base64Spellings(secret: string): string[] {
  const bytes = Buffer.from(secret, "utf8");
  const shifted = [0, 1, 2].map((before) => {
    const length = before + bytes.length;
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    return text.slice(Math.ceil((before * 4) / 3), Math.floor((length * 4) / 3));
  });
  return shifted.flatMap((text) => [text, text.replaceAll("+", "-").replaceAll("/", "_")]);
}

function placesOf(text: string, needles: readonly Needle[]): Found[] {
  const found: Found[] = [];
  for (const { text: word, label } of needles) {
    for (let start = text.indexOf(word); start >= 0; start = text.indexOf(word, start + 1)) {
      found.push({ start, end: start + word.length, label });
    }
  }
  return found;
}

/** Ways to read a text loosely: with line breaks taken out, and with the escapes of JSON or of URLs undone as well. */
const BREAKS = /[\r\n]|\\[rn]/g;
const LOOSE_VIEWS = [BREAKS, /[\r\n]|\\(?:[nr"\\/]|u[0-9a-fA-F]{4})/g, /[\r\n]|\\[rn]|%[0-9a-fA-F]{2}/g];

interface LooseView {
  readonly text: string;
  /** Where a part of it stood that is given by its own places. */
  originOf(start: number, end: number): { readonly start: number; readonly end: number };
}

/** Null where there is nothing to undo. */
function loosened(latin1: string, escapes: RegExp): LooseView | null {
  const parts: string[] = [];
  /** Of each part: where it begins in the view, where it stood, and how long that was. */
  const places: { readonly at: number; readonly origin: number; readonly length: number }[] = [];
  let length = 0;
  let from = 0;
  const add = (part: string, origin: number, originLength: number): void => {
    if (part === "") return;
    parts.push(part);
    places.push({ at: length, origin, length: originLength });
    length += part.length;
  };
  for (const { 0: escape, index } of latin1.matchAll(escapes)) {
    add(latin1.slice(from, index), from, index - from);
    add(meaningOf(escape), index, escape.length);
    from = index + escape.length;
  }
  if (from === 0) return null;
  add(latin1.slice(from), from, latin1.length - from);
  const partAt = (at: number): number => {
    let low = 0;
    for (let high = places.length - 1; low < high;) {
      const middle = Math.ceil((low + high) / 2);
      if ((places[middle]?.at ?? 0) <= at) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const origin = (at: number, isEnd: boolean): number => {
    const index = partAt(at);
    const place = places[index] ?? { at: 0, origin: 0, length: 0 };
    const isEscape = parts[index]?.length !== place.length;
    if (isEscape) return place.origin + (isEnd ? place.length : 0);
    return place.origin + at - place.at + (isEnd ? 1 : 0);
  };
  return { text: parts.join(""), originOf: (start, end) => ({ start: origin(start, false), end: origin(end - 1, true) }) };
}

function meaningOf(escape: string): string {
  if (escape.startsWith("%")) return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  if (escape.startsWith("\\u")) return latin1Of(String.fromCharCode(Number.parseInt(escape.slice(2), 16)));
  return escape.startsWith("\\") && !/[nr]$/.test(escape) ? escape.slice(1) : "";
}

function looselyFound(latin1: string, needles: readonly Needle[]): Found[] {
  return LOOSE_VIEWS.flatMap((escapes) => {
    const view = loosened(latin1, escapes);
    return view === null ? [] : placesOf(view.text, needles).map(({ start, end, label }) => ({ ...view.originOf(start, end), label }));
  });
}

/** In order, and those that touch the same characters as one. */
function joined(found: readonly Found[]): Found[] {
  const apart: Found[] = [];
  for (const place of found.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const last = apart.at(-1);
    if (last === undefined || place.start >= last.end) apart.push(place);
    else if (place.end > last.end) apart[apart.length - 1] = { ...last, end: place.end };
  }
  return apart;
}

function replaced(text: string, found: readonly Found[]): string {
  const parts: string[] = [];
  let from = 0;
  for (const { start, end, label } of found) {
    parts.push(text.slice(from, start), label);
    from = end;
  }
  return parts.join("") + text.slice(from);
}

function inCharacters(latin1: string, { start, end, label }: Found): Found {
  const chars = (bytes: number): number => Buffer.from(latin1.slice(0, bytes), "latin1").toString("utf8").length;
  return { start: chars(start), end: chars(end), label };
}

function redactJson(value: unknown, text: (input: string) => string): unknown {
  if (typeof value === "string") return text(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map((item) => redactJson(item, text));
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  let isChanged = false;
  const entries = Object.entries(value).map(([name, inner]) => {
    const entry = [text(name), redactJson(inner, text)] as const;
    isChanged ||= entry[0] !== name || entry[1] !== inner;
    return entry;
  });
  return isChanged ? Object.fromEntries(entries) : value;
}

/** An escape that is not complete: what it means is not known yet. */
const OPEN_ESCAPE = /(?:\\(?:u[0-9a-fA-F]{0,3})?|%[0-9a-fA-F]?)$/;

/** The same in a text, also of a spelling with escapes and line breaks. */
function beginningOf(text: string, needles: readonly Needle[]): number {
  const longest = Math.max(0, ...needles.map((one) => one.text.length));
  // Each character may be written as an escape of six.
  const end = latin1Of(text.slice(-6 * longest - 6));
  const whole = end.replace(OPEN_ESCAPE, "");
  const begins = [whole.length - beginningAtEnd(whole, needles), ...LOOSE_VIEWS.map((escapes) => loosely(escapes))];
  return Buffer.from(end.slice(Math.min(...begins)), "latin1").toString("utf8").length;

  function loosely(escapes: RegExp): number {
    const view = loosened(whole, escapes);
    const count = view === null ? 0 : beginningAtEnd(view.text, needles);
    return view === null || count === 0 ? whole.length : view.originOf(view.text.length - count, view.text.length).start;
  }
}

/** How many of the last characters may be the beginning of a needle that goes on. */
function beginningAtEnd(text: string, needles: readonly Needle[]): number {
  const longest = Math.max(0, ...needles.map((one) => one.text.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length -= 1) {
    const end = text.slice(-length);
    if (needles.some((one) => one.text.length > length && one.text.startsWith(end))) return length;
  }
  return 0;
}

/** Of two neighbouring bytes; few texts have few of these, and the table stays small: every call has some of its own. */
const HASHES = 4_096;
const hashOf = (first: number, second: number): number => ((first << 5) ^ second) & (HASHES - 1);
const MAX_STEP = 255;

/**
 * Tells whether any of these texts is in bytes. They are given as latin1, of two characters at least. One pass over the bytes however many there
 * are, which looks at few of them (Wu and Manber's search).
 */
export function createFinder(texts: readonly string[]): (bytes: Buffer) => boolean {
  const words = texts.map((text) => Buffer.from(text, "latin1"));
  const shortest = Math.min(MAX_STEP, ...texts.map((text) => text.length));
  /** How far the next place is at which the first `shortest` bytes of a text can end, by the last two bytes up to here. */
  const steps = new Uint8Array(HASHES).fill(shortest - 1);
  for (const word of words) {
    for (let at = 1; at < shortest; at += 1) {
      const hash = hashOf(word[at - 1] as number, word[at] as number);
      steps[hash] = Math.min(steps[hash] as number, shortest - 1 - at);
    }
  }
  return (bytes) => {
    for (let end = shortest - 1; end < bytes.length;) {
      const step = steps[hashOf(bytes[end - 1] as number, bytes[end] as number)] as number;
      if (step === 0 && words.some((word) => isAt(word, bytes, end - shortest + 1))) return true;
      end += step || 1;
    }
    return false;
  };
}

function isAt(word: Buffer, bytes: Buffer, at: number): boolean {
  for (let index = 0; index < word.length; index += 1) if (bytes[at + index] !== word[index]) return false;
  return true;
}
