import { expect, test } from "vitest";
import { screenAfter } from "./screen.ts";
import { renderSvg } from "./svg.ts";

const ESC = "\u001b[";
const textOf = (output: string, columns = 20): string[] =>
  screenAfter(output, columns).map((cells) => cells.map((cell) => cell.char).join(""));

test("lines that are drawn anew leave nothing of what stood there", () => {
  expect(textOf(`one\r\nbuilding · 1 s\r${ESC}Jtwo\r\nbuilding · 2 s`)).toEqual(["one", "two", "building · 2 s"]);
  expect(textOf(`one\r\ntwo\r\nthree\r${ESC}2A${ESC}Jnew`)).toEqual(["new"]);
  expect(textOf(`abc${ESC}3G-`)).toEqual(["ab-"]);
});

test("what is longer than a line goes on in the next one, as in a terminal", () => {
  expect(textOf("abcdef\r\ng", 4)).toEqual(["abcd", "ef", "g"]);
  expect(textOf("abcd\r\ne", 4)).toEqual(["abcd", "e"]);
});

test("what the terminal does not know makes no picture", () => {
  for (const output of ["\u0007", `${ESC}5C`, `${ESC}2J`, `${ESC}4mx`, "\u001b]0;title\u0007"])
    expect(() => screenAfter(output, 20)).toThrow("does not know");
});

test("a picture has the text with its colours, each piece where its column is", () => {
  const rows = screenAfter(`${ESC}1m${ESC}31m✗ <a>${ESC}39m${ESC}22m  b & c`, 20);
  const svg = renderSvg(rows, { columns: 20, title: "a < b" });
  expect(svg).toContain("<title>a &lt; b</title>");
  expect(svg).toContain('<text x="16" y="29.5" textLength="42" fill="#ff7b72" font-weight="bold">✗ &lt;a&gt;</text>');
  expect(svg).toContain('<text x="74.8" y="29.5" textLength="42">b &amp; c</text>');
});
