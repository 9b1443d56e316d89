import { describe, expect, it } from "vitest";
import { readFrames } from "./docker-frames.ts";

function frame(kind: number, text: string): Buffer {
  const header = Buffer.from([kind, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

const STREAM = Buffer.concat([frame(1, "one\n"), frame(2, "bad\n"), frame(1, ""), frame(1, "größe\n")]);

describe("the stream of a container", () => {
  it("is the same however it is cut", () => {
    for (let size = 1; size <= STREAM.length; size += 1) {
      const got = { stdout: "", stderr: "" };
      const frames = readFrames((kind, piece) => (got[kind] += piece.toString("latin1")));
      for (let at = 0; at < STREAM.length; at += size) frames.take(STREAM.subarray(at, at + size));
      expect(got).toEqual({ stdout: Buffer.from("one\ngröße\n").toString("latin1"), stderr: "bad\n" });
      expect(frames.isBetween()).toBe(true);
    }
  });

  it("may end between two pieces only", () => {
    for (let end = 1; end < 12; end += 1) {
      const frames = readFrames(() => {});
      frames.take(STREAM.subarray(0, end));
      expect(frames.isBetween()).toBe(false);
    }
  });

  it("is not taken for what it is not", () => {
    expect(() => readFrames(() => {}).take(Buffer.from("plain text of a terminal"))).toThrow("not the stream of a container");
  });
});
