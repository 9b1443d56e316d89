import { buffer } from "node:stream/consumers";
import type { MadeFile } from "../made-file.ts";

/** All of a patch or bundle; throws where it is too large. */
export async function readMade(making: Promise<MadeFile | { readonly tooLarge: number }>): Promise<Buffer> {
  const made = await making;
  if ("tooLarge" in made) throw new Error(`it has ${made.tooLarge} bytes`);
  const bytes = await buffer(made.bytes);
  if (bytes.length !== made.size) throw new Error(`it has ${bytes.length} bytes, and said ${made.size}`);
  return bytes;
}
