import { expect, test } from "vitest";
import { jsonText, oneLine, printable, printableName } from "./output.ts";

/** What a terminal acts on: it moves the cursor, writes the clipboard, sets a title, or turns text around. */
const STEERING = ["\u0000", "\u0007", "\u0008", "\u001b", "\u007f", "\u009b", "\u009d", "\u202a", "\u202e", "\u2066", "\u2069"];
const all = STEERING.join("x");

test("text of others keeps its lines and tabs, and nothing that steers a terminal", () => {
  expect(printable("a\tb\nc é 漢 👩‍💻")).toBe("a\tb\nc é 漢 👩‍💻");
  for (const sign of STEERING) expect([sign, printable(`a${sign}b`)]).toEqual([sign, "a\ufffdb"]);
  expect(printable("over\rwritten\r\n")).toBe("overwritten\n");
  expect(printableName("a\nb\tc\u001b[2J")).toBe("a\ufffdb\ufffdc\ufffd[2J");
  expect(oneLine(`a\n b ${all}`)).toBe(`a b ${STEERING.map(() => "\ufffd").join("x")}`);
});

test("JSON says the same with nothing in it that steers a terminal", () => {
  const value = { [`name ${all}`]: [`text ${all}`, 1, null] };
  for (const indent of [undefined, 2]) {
    const text = jsonText(value, indent);
    expect(JSON.parse(text)).toEqual(value);
    for (const sign of STEERING) expect([sign, text.includes(sign)]).toEqual([sign, false]);
  }
});
