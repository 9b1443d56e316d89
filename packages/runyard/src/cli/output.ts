import { once } from "node:events";
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** How a stream shows text: with colours only where a person sees them and wants them. */
export interface Paint {
  readonly colour: boolean;
  (style: Style, text: string): string;
}

/** Colours for a stream: none without a terminal, with NO_COLOR, or on a dumb one; FORCE_COLOR brings them back. */
export function paintFor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): Paint {
  const forced = Boolean(env["FORCE_COLOR"]) && env["FORCE_COLOR"] !== "0";
  const colour = !env["NO_COLOR"] && env["TERM"] !== "dumb" && (forced || stream.isTTY === true);
  return Object.assign((style: Style, text: string) => (colour ? styleText(style, text, { validateStream: false }) : text), { colour });
}

/** Text of an agent or a repository, safe to show: control characters could move the cursor or write the clipboard, or turn text around. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (char) => (char === "\r" ? "" : "�"));
}

/** A name of a file, whole and on one line: it may hold line breaks, which would look like files of their own. */
export function printableName(name: string): string {
  return printable(name).replaceAll(/[\n\t]/g, "�");
}

/** One line, cut at `width` characters. */
export function oneLine(text: string, width = 100): string {
  const line = printable(text).replaceAll(/\s+/g, " ").trim();
  return line.length > width ? `${line.slice(0, width - 1)}…` : line;
}

/** JSON that a terminal shows as it is: what JSON leaves unescaped and a terminal acts on is escaped, too. */
export function jsonText(value: unknown, indent?: number): string {
  const steering = /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;
  return JSON.stringify(value, null, indent).replaceAll(steering, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${jsonText(value, 2)}\n`);
}

/** Data for people or programs, as much of it as stdout takes at a time; gives how many bytes or characters it was. */
export async function writeOut(pieces: AsyncIterable<Uint8Array | string>): Promise<number> {
  let size = 0;
  for await (const piece of pieces) {
    size += piece.length;
    if (!process.stdout.write(piece)) await once(process.stdout, "drain");
  }
  return size;
}

/** Data for people or programs: a line on stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Everything else: a line on stderr. */
export function say(text = ""): void {
  process.stderr.write(`${text}\n`);
}

/** 4.2 s, 3 min 20 s, 1 h 4 min. */
export function duration(ms: number): string {
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  return roughDuration(ms);
}

/** 4 s, 3 min 20 s, 1 h 4 min, 2 days 3 h. */
export function roughDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes === 0) return `${seconds} s`;
  if (hours === 0) return `${minutes} min ${seconds % 60} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

export function count(value: number | null): string {
  return value === null ? "unknown" : value.toLocaleString("en-US");
}

/** 1 file, 2 files. */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** 512 bytes, 3.4 KB, 2.0 GB. */
export function bytes(value: number): string {
  const units = ["KB", "MB", "GB", "TB"];
  if (value < 1024) return plural(value, "byte");
  let [size, unit] = [value / 1024, 0];
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(1)} ${units[unit]}`;
}

/** A word that can be pasted into a POSIX shell. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
