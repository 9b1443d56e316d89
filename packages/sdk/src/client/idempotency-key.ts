import { idempotencyKeySchema } from "../contract/creating.ts";

/** A key that nobody else has: 128 random bits, from what browsers have on plain HTTP too. */
export function newIdempotencyKey(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A caller's key. One that no header can carry would look like a server that cannot be reached. */
export function checkedIdempotencyKey(key: string): string {
  if (idempotencyKeySchema.safeParse(key).success) return key;
  throw new TypeError(`idempotencyKey must be 1 to 255 visible ASCII characters, without spaces: ${JSON.stringify(key.slice(0, 300))}`);
}
