import { createFinder } from "./find.ts";

const REPLACEMENT = "[redacted]";

/** Shorter "keys" are placeholders of local model servers ("none", "ollama"): words that answers may contain. */
const MIN_SECRET_CHARS = 12;

/** Takes secrets out of bytes and texts, in the spellings in which programs echo them. What is cut into pieces must be put together before. */
export interface Redactor {
  bytes(input: Buffer): Buffer;
  text(input: string): string;
}

/** A redactor for these secrets; null ones and ones of fewer than 12 characters are left alone. */
export function createRedactor(secrets: readonly (string | null)[]): Redactor {
  const needles = [...new Set(secrets.flatMap(spellings))];
  const isIn = createFinder(needles);
  return {
    bytes(input) {
      if (!isIn(input)) return input;
      // latin1 maps bytes to characters one to one, so what is not replaced stays as it was.
      return Buffer.from(replaceAll(input.toString("latin1"), needles), "latin1");
    },
    text: (input) => replaceAll(input, needles),
  };
}

function replaceAll(text: string, needles: readonly string[]): string {
  return needles.reduce((rest, needle) => rest.replaceAll(needle, REPLACEMENT), text);
}

/** As it is, inside a JSON string, inside a URL, and in base64. Secrets here are visible ASCII. */
function spellings(secret: string | null): string[] {
  if (secret === null || secret.length < MIN_SECRET_CHARS) return [];
  const inJson = JSON.stringify(secret).slice(1, -1);
  return [secret, inJson, inJson.replaceAll("/", "\\/"), encodeURIComponent(secret), ...base64Spellings(secret)];
}

/** However many bytes stand before it, since three bytes share four characters; without those that its neighbours have a part in. */
function base64Spellings(secret: string): string[] {
  const shifted = [0, 1, 2].map((before) => {
    const length = before + secret.length;
    const text = Buffer.from("\0".repeat(before) + secret).toString("base64");
    return text.slice(Math.ceil((before * 4) / 3), Math.floor((length * 4) / 3));
  });
  return shifted.flatMap((text) => [text, text.replaceAll("+", "-").replaceAll("/", "_"), text.replaceAll("/", "\\/")]);
}

/** Takes secrets out of bytes that come in pieces, also where a piece ends in the middle of one. */
export interface StreamRedactor {
  /** What can be passed on: all but an end that may be the beginning of a secret. */
  push(piece: Buffer): Buffer;
  /** The rest. */
  end(): Buffer;
}

export function createStreamRedactor(secrets: readonly string[]): StreamRedactor {
  const needles = [...new Set(secrets.flatMap(spellings))];
  let held = "";
  return {
    push(piece) {
      const text = replaceAll(held + piece.toString("latin1"), needles);
      const passed = text.length - beginningAtEnd(text, needles);
      held = text.slice(passed);
      return Buffer.from(text.slice(0, passed), "latin1");
    },
    end: () => Buffer.from(held, "latin1"),
  };
}

/** How many of the last characters may be the beginning of a needle that goes on. */
function beginningAtEnd(text: string, needles: readonly string[]): number {
  const longest = Math.max(0, ...needles.map((needle) => needle.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length -= 1) {
    const end = text.slice(-length);
    if (needles.some((needle) => needle.length > length && needle.startsWith(end))) return length;
  }
  return 0;
}
