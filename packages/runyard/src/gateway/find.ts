/** Of two neighbouring bytes; few texts have few of these, and the table stays small: every call has some of its own. */
const HASHES = 4_096;
const hashOf = (first: number, second: number): number => ((first << 5) ^ second) & (HASHES - 1);
const MAX_STEP = 255;

/**
 * Tells whether any of these texts is in bytes. They are ASCII, of two characters at least. One pass over the bytes however many there
 * are, which looks at few of them (Wu and Manber's search).
 */
export function createFinder(texts: readonly string[]): (bytes: Buffer) => boolean {
  const needles = texts.map((text) => Buffer.from(text));
  const shortest = Math.min(MAX_STEP, ...texts.map((text) => text.length));
  /** How far the next place is at which the first `shortest` bytes of a text can end, by the last two bytes up to here. */
  const steps = new Uint8Array(HASHES).fill(shortest - 1);
  for (const needle of needles) {
    for (let at = 1; at < shortest; at += 1) {
      const hash = hashOf(needle[at - 1] as number, needle[at] as number);
      steps[hash] = Math.min(steps[hash] as number, shortest - 1 - at);
    }
  }
  return (bytes) => {
    for (let end = shortest - 1; end < bytes.length;) {
      const step = steps[hashOf(bytes[end - 1] as number, bytes[end] as number)] as number;
      if (step === 0 && needles.some((needle) => isAt(needle, bytes, end - shortest + 1))) return true;
      end += step || 1;
    }
    return false;
  };
}

function isAt(needle: Buffer, bytes: Buffer, at: number): boolean {
  for (let index = 0; index < needle.length; index += 1) if (bytes[at + index] !== needle[index]) return false;
  return true;
}
