import { closeSync, fstatSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { type ExchangeLine, type ExchangeOpen, parseExchangeLine } from "./exchange-journal.ts";

const NEWLINE = 0x0a;

/**
 * Appends whole lines. A writer that was killed may have left half a line behind: that is ended first,
 * so that the file stays lines and what a reader has read stays where it was. Throws when the disk is full.
 */
export function appendLines(file: string, lines: readonly ExchangeLine[]): void {
  if (lines.length === 0) return;
  const descriptor = openSync(file, "a+", 0o600);
  try {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    const bytes = Buffer.from(endsInLine(descriptor) ? text : `\n${text}`);
    for (let written = 0; written < bytes.length;) written += writeSync(descriptor, bytes, written);
  } finally {
    closeSync(descriptor);
  }
}

function endsInLine(descriptor: number): boolean {
  const { size } = fstatSync(descriptor);
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] === NEWLINE);
}

/** The calls of one gateway process (`tag` is the second half of their ids) that have no end. */
export function unsettledCalls(file: string, tag: string): ExchangeOpen[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return [];
  }
  const open = new Map<string, ExchangeOpen>();
  for (const line of text.split("\n")) {
    const entry = parseExchangeLine(line);
    if (entry?.type === "open" && entry.id.endsWith(`-${tag}`)) open.set(entry.id, entry);
    if (entry?.type === "close") open.delete(entry.id);
  }
  return [...open.values()];
}
