import fc from "fast-check";
import { expect, test } from "vitest";
import { createWrapper, cutToWidth, displayWidth, wrap, wrapBehind } from "./text.ts";

test("text is broken between words, and every line keeps the indent", () => {
  expect(wrap("one two three four", { width: 11, indent: "  " })).toBe("  one two\n  three\n  four");
  expect(wrap("a\n\n  b", { width: 80, indent: "  " })).toBe("  a\n\n    b");
});

test("a path or an id that is longer than a line stays whole", () => {
  const path = `/home/me/${"long/".repeat(20)}file.ts`;
  expect(wrap(`see ${path} there`, { width: 40, indent: "  " })).toBe(`  see\n  ${path}\n  there`);
});

test("lists, tables and code keep their form", () => {
  expect(wrap("- one two three", { width: 9, indent: "" })).toBe("- one two\n  three");
  expect(wrap("12. one two three", { width: 9, indent: "" })).toBe("12. one\n    two\n    three");
  expect(wrap("NAME   what it is for", { width: 14, indent: "" })).toBe("NAME   what it\n       is for");
  const code = "```\nconst a = 'far longer than the line';\n```\nand words again";
  expect(wrap(code, { width: 12, indent: "" })).toBe("```\nconst a = 'far longer than the line';\n```\nand words\nagain");
});

test("behind a heading, further lines stand below the text; colours take no room", () => {
  expect(wrapBehind("\u001b[31mx:\u001b[39m ", "one two three", 10)).toBe("\u001b[31mx:\u001b[39m one two\n   three");
});

test("without a width nothing is broken", () => {
  const long = "word ".repeat(1000).trim();
  expect(wrap(long, { width: Number.POSITIVE_INFINITY, indent: "  " })).toBe(`  ${long}`);
});

test("widths are those of a terminal", () => {
  expect(displayWidth("abc")).toBe(3);
  expect(displayWidth("\u001b[1mabc\u001b[22m")).toBe(3);
  expect(displayWidth("日本")).toBe(4);
  expect(displayWidth("👩‍💻")).toBe(2);
  expect(displayWidth("e\u0301")).toBe(1);
  expect(cutToWidth("abcdef", 4)).toBe("abc…");
  expect(cutToWidth("日本語", 4)).toBe("日…");
  expect(cutToWidth("\u001b[1mabcdef\u001b[22m", 4)).toBe("\u001b[1mabc…\u001b[0m");
  expect(cutToWidth("abcd", 4)).toBe("abcd");
});

test("however text streams in, it is broken the same, and no word is lost", () => {
  const words = fc.array(fc.constantFrom("a", "bcd", "日本", "- ", " ", "\n", "longest-word-of-all"), { maxLength: 60 });
  fc.assert(
    fc.property(words, fc.array(fc.nat({ max: 9 }), { maxLength: 30 }), (parts, steps) => {
      const text = parts.join("");
      const options = { width: 16, indent: "  " };
      const wrapper = createWrapper(options);
      let streamed = "";
      let at = 0;
      for (const step of steps) streamed += wrapper.push(text.slice(at, (at += step)));
      streamed += wrapper.push(text.slice(at)) + wrapper.end();
      expect(streamed).toBe(wrap(text, options));
      expect(streamed.split(/\s+/).join("")).toBe(text.split(/\s+/).join(""));
      for (const line of streamed.split("\n")) expect(displayWidth(line) <= 16 || line.trim().split(" ").length <= 2).toBe(true);
    }),
  );
});
