/** Any value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** The object, or null for anything else; what an agent sends is read through these and never trusted. */
export function readObject(value: Json | undefined): JsonObject | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
}

export function readArray(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

/** The text without NUL, which PostgreSQL cannot take out of a JSON value again; null for anything but text. */
export function readText(value: Json | undefined): string | null {
  if (typeof value !== "string") return null;
  return value.includes("\0") ? value.replaceAll("\0", "\u{FFFD}") : value;
}

/** Text that is not blank, cut at `maxChars`; null for anything else. */
export function readLabel(value: Json | undefined, maxChars: number): string | null {
  const text = readText(value);
  return text === null || text.trim() === "" ? null : cutText(text, maxChars);
}

/** A whole number that survives JSON; null for anything else. */
export function readInteger(value: Json | undefined): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}

/** The value if it is one of the words; null for anything else. */
export function readWord<T extends string>(value: Json | undefined, words: readonly T[]): T | null {
  return words.find((word) => word === value) ?? null;
}

/** The first characters (UTF-16 units) of a text; never half a surrogate pair. */
export function cutText(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  const splitsPair = isHighSurrogate(text.charCodeAt(maxChars - 1));
  return text.slice(0, splitsPair ? maxChars - 1 : maxChars);
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

/** Parses one line; undefined for what is no JSON, or is nested too deep to handle. */
export function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
