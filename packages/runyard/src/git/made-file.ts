import { open, stat } from "node:fs/promises";

const PIECE_BYTES = 256 * 1024;

/** A file that was made to be handed out; its pieces can be read once. */
export interface MadeFile {
  /** In bytes. */
  readonly size: number;
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

/** Opens it, so that it can be removed at once; `tooLarge`: it has more bytes than `maxBytes`, namely so many. */
export async function openMadeFile(file: string, maxBytes: number): Promise<MadeFile | { readonly tooLarge: number }> {
  const { size } = await stat(file);
  if (size > maxBytes) return { tooLarge: size };
  return { size, bytes: piecesOf(await open(file, "r")) };
}

async function* piecesOf(handle: Awaited<ReturnType<typeof open>>): AsyncGenerator<Uint8Array, void> {
  try {
    for (let at = 0; ;) {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
