const HEADER_BYTES = 8;

/** Takes the stream of a container without a terminal apart: before each piece a header with its kind and length. */
export interface FrameReader {
  /** Takes what came; gives each piece on, however the stream was cut. Throws where it is no such stream. */
  take(bytes: Buffer): void;
  /** Whether the stream could end here. */
  isBetween(): boolean;
}

export function readFrames(give: (kind: "stdout" | "stderr", piece: Buffer) => void): FrameReader {
  let header = Buffer.alloc(0);
  let kind: "stdout" | "stderr" = "stdout";
  let left = 0;
  return {
    take(bytes) {
      for (let rest = bytes; rest.length > 0;) {
        if (left > 0) {
          const piece = rest.subarray(0, left);
          left -= piece.length;
          rest = rest.subarray(piece.length);
          give(kind, piece);
          continue;
        }
        const missing = HEADER_BYTES - header.length;
        header = Buffer.concat([header, rest.subarray(0, missing)]);
        rest = rest.subarray(missing);
        if (header.length < HEADER_BYTES) return;
        if (header[0]! > 2 || header.readUIntBE(1, 3) !== 0) throw new Error("what the engine sends is not the stream of a container");
        kind = header[0] === 2 ? "stderr" : "stdout";
        left = header.readUInt32BE(4);
        header = Buffer.alloc(0);
      }
    },
    isBetween: () => left === 0 && header.length === 0,
  };
}
