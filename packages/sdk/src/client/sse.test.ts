import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createSseParser, type SseMessage } from "./sse.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const parse = (...pieces: (string | Uint8Array)[]): SseMessage[] => {
  const parser = createSseParser();
  return pieces.flatMap((piece) => parser.push(typeof piece === "string" ? encode(piece) : piece));
};
const data = (messages: readonly SseMessage[]): string[] => messages.map((message) => message.data);

describe("the parser keeps the standard", () => {
  test("data lines are joined; one space after the colon is not data", () => {
    expect(data(parse("data: one\ndata:two\ndata:  three\n\n"))).toEqual(["one\ntwo\n three"]);
    expect(data(parse("data\n\ndata\ndata\n\ndata:\n"))).toEqual(["", "\n"]);
  });

  test("every kind of line end, also mixed and cut in two", () => {
    expect(data(parse("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n"))).toEqual(["a", "b", "c", "d"]);
    expect(data(parse("data: a\r", "\n\r", "\ndata: b\n\n"))).toEqual(["a", "b"]);
    expect(data(parse("data: a\r", "\r", "data: b\r\r"))).toEqual(["a", "b"]);
    expect(data(parse("data: a\r", "", "\ndata: b\n\n"))).toEqual(["a\nb"]);
  });

  test("comments and fields that it does not know are read over", () => {
    expect(data(parse(":\n\n: data: no\ndata: yes\nretry: 2000\nfoo: bar\nDATA: no\n\n"))).toEqual(["yes"]);
  });

  test("ids stay until another comes; an id with NUL is none; names go with their message", () => {
    expect(parse("id: 7\nevent: tick\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n")).toEqual([
      { data: "a", id: "7", event: "tick" },
      { data: "b", id: "7", event: "message" },
      { data: "c", id: "7", event: "message" },
      { data: "d", id: "", event: "message" },
    ]);
  });

  test("a message without data is none, and neither is one that never ended", () => {
    expect(parse("id: 1\nevent: x\n\ndata: unfinished\n")).toEqual([]);
  });

  test("a byte order mark at the start is not part of the first field", () => {
    expect(data(parse(Uint8Array.of(0xef, 0xbb), Uint8Array.of(0xbf), "data: a\n\n\ufeffdata: b\n\n"))).toEqual(["a"]);
  });

  test("a long line that comes in small pieces costs its length", () => {
    const text = `data: ${"x".repeat(3_000_000)}\n\n`;
    const bytes = encode(text);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 100) }, (_, index) => bytes.subarray(index * 100, index * 100 + 100));
    expect(data(parse(...pieces))[0]?.length).toBe(3_000_000);
  });
});

test("however the bytes are cut, the messages are those that were written", () => {
  const lineEnd = fc.constantFrom("\n", "\r", "\r\n");
  const text = fc.string({ unit: "grapheme" }).map((value) => value.replaceAll(/[\r\n\0\ufeff]/g, "").replaceAll(/\p{Surrogate}/gu, "?"));
  const message = fc.record({ lines: fc.array(text, { minLength: 1, maxLength: 3 }), id: text, comment: text, end: lineEnd });
  const written = fc.array(message, { maxLength: 6 });
  fc.assert(
    fc.property(written, fc.array(fc.nat({ max: 40 }), { maxLength: 60 }), (messages, steps) => {
      const stream = messages
        .map(({ lines, id, comment, end }) => [`:${comment}`, `id: ${id}`, ...lines.map((line) => `data: ${line}`), "", ""].join(end))
        .join("");
      const bytes = encode(stream);
      const pieces: Uint8Array[] = [];
      let at = 0;
      for (const step of steps) pieces.push(bytes.subarray(at, (at += step)));
      pieces.push(bytes.subarray(at));
      expect(parse(...pieces)).toEqual(messages.map(({ lines, id }) => ({ data: lines.join("\n"), id, event: "message" })));
    }),
    { numRuns: 500 },
  );
});
