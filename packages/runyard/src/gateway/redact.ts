const REPLACEMENT = "[redacted]";

/** Shorter "keys" are placeholders of local model servers ("none", "ollama"): words that answers may contain. */
const MIN_SECRET_CHARS = 12;

/** Takes secrets out of bytes and texts, in the spellings in which programs echo them. */
export interface Redactor {
  bytes(input: Buffer): Buffer;
  text(input: string): string;
}

/** A redactor for these secrets; null ones and ones of fewer than 12 characters are left alone. */
export function createRedactor(secrets: readonly (string | null)[]): Redactor {
  const needles = [...new Set(secrets.flatMap(spellings))];
  return {
    bytes(input) {
      if (!needles.some((needle) => input.includes(needle))) return input;
      // latin1 maps bytes to characters one to one, so what is not replaced stays as it was.
      return Buffer.from(replaceAll(input.toString("latin1"), needles), "latin1");
    },
    text: (input) => replaceAll(input, needles),
  };
}

function replaceAll(text: string, needles: readonly string[]): string {
  return needles.reduce((rest, needle) => rest.replaceAll(needle, REPLACEMENT), text);
}

/** As it is, inside a JSON string, and inside a URL. Secrets here are visible ASCII. */
function spellings(secret: string | null): string[] {
  if (secret === null || secret.length < MIN_SECRET_CHARS) return [];
  const inJson = JSON.stringify(secret).slice(1, -1);
  return [secret, inJson, inJson.replaceAll("/", "\\/"), encodeURIComponent(secret)];
}
