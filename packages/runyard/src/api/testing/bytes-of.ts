/** What a run made, as the engine hands it out: once, piece by piece. */
export function bytesOf(text: string): { readonly size: number; readonly bytes: AsyncGenerator<Uint8Array, void> } {
  const bytes = Buffer.from(text);
  return {
    size: bytes.length,
    bytes: (async function* () {
      yield bytes;
    })(),
  };
}
