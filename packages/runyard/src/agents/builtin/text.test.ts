import fc from "fast-check";
import { expect, test } from "vitest";
import { cutEnd, cutMiddle, cutStrings, keepOutput, oneLine } from "./text.ts";

const anyText = fc.string({ unit: "grapheme", maxLength: 200 }).filter((text) => !text.includes("\0") && !text.includes("\uFFFD"));

test("output within the limits comes back as it was, however it was cut into chunks", () => {
  fc.assert(
    fc.property(anyText, fc.integer({ min: 1, max: 7 }), (text, chunkBytes) => {
      const bytes = Buffer.from(text);
      const keeper = keepOutput({ headBytes: 500, tailBytes: 2_000 });
      for (let at = 0; at < bytes.length; at += chunkBytes) keeper.push(bytes.subarray(at, at + chunkBytes));
      expect(keeper.text()).toBe(text);
      expect(keeper.size()).toBe(bytes.length);
    }),
  );
});

test("longer output keeps its ends, whole characters, and says how much is missing", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const long = `${text}-middle-${"é".repeat(200)}-middle-${text}`;
      const cut = cutMiddle(long, 100);
      if (Buffer.byteLength(long) <= 100) return expect(cut).toBe(long);
      const [head = "", end = ""] = cut.split(/\n\[\.\.\. \d+ bytes left out \.\.\.\]\n/);
      expect(long.startsWith(head)).toBe(true);
      expect(long.endsWith(end)).toBe(true);
      expect(head.length + end.length).toBeGreaterThan(20);
      expect(cut).not.toMatch(/[\uD800-\uDFFF]/u);
    }),
  );
});

test("cuts never split a character", () => {
  expect(cutEnd("ab🌍cd", 4)).toBe("ab…");
  expect(cutEnd("ab🌍", 4)).toBe("ab🌍");
  expect(oneLine("  a\n\tb  ")).toBe("a b");
});

test("long strings are cut wherever they stand", () => {
  expect(cutStrings({ a: ["x".repeat(10), 1, null], b: { c: true } }, 5)).toEqual({ a: ["xxxx…", 1, null], b: { c: true } });
});
