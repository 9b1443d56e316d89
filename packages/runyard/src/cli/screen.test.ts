import fc from "fast-check";
import { expect, test } from "vitest";
import { isLive, openScreen, widthOf } from "./screen.ts";
import { screenOf } from "./testing/terminal.ts";

const COLUMNS = 20;

function fakeTerminal(): { isTTY: true; columns: number; write(text: string): void; written: string } {
  return {
    isTTY: true,
    columns: COLUMNS,
    written: "",
    write(text) {
      this.written += text;
    },
  };
}

test("whatever is written above a changing status, what scrolls by is exactly what was written", () => {
  const step = fc.oneof(
    fc.record({ write: fc.constantFrom("a", "some words ", "\n", "line\n", "x".repeat(45), "two\nlines\n") }),
    fc.record({ status: fc.constantFrom(null, "building · 1 s", "a status that is far too long for the line") }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const terminal = fakeTerminal();
      const screen = openScreen(terminal);
      let text = "";
      for (const one of steps) {
        if ("write" in one) {
          text += one.write;
          screen.write(one.write);
        } else screen.setStatus(one.status);
      }
      screen.close();
      const whole = text === "" || text.endsWith("\n") ? text : `${text}\n`;
      expect(screenOf(terminal.written, COLUMNS)).toEqual(screenOf(whole, COLUMNS));
    }),
  );
});

test("the status stands below the unfinished line, and is there until it is taken away", () => {
  const terminal = fakeTerminal();
  const screen = openScreen(terminal);
  screen.setStatus("building · 1 s");
  screen.write("done\nunfin");
  expect(screenOf(terminal.written, COLUMNS)).toEqual(["done", "unfin", "building · 1 s"]);
  screen.write("ished\n");
  screen.setStatus("building · 2 s");
  expect(screenOf(terminal.written, COLUMNS)).toEqual(["done", "unfinished", "building · 2 s"]);
  screen.setStatus(null);
  expect(screenOf(terminal.written, COLUMNS)).toEqual(["done", "unfinished", ""]);
});

test("without a terminal there is no status, and nothing but what was written", () => {
  const stream = { written: "", write: (text: string) => void (stream.written += text) };
  const screen = openScreen(stream);
  screen.setStatus("building");
  screen.write("a\nb");
  screen.close();
  expect(stream.written).toBe("a\nb");
  expect(isLive({ isTTY: true, write: () => {} }, { TERM: "dumb" })).toBe(false);
  expect(isLive({ isTTY: true, write: () => {} }, { TERM: "xterm" })).toBe(true);
});

test("the width is the terminal's, else that of COLUMNS, else there is none", () => {
  const write = (): void => {};
  expect(widthOf({ write, isTTY: true, columns: 200 }, { COLUMNS: "80" })).toBe(200);
  expect(widthOf({ write }, { COLUMNS: "80" })).toBe(80);
  expect(widthOf({ write }, {})).toBe(Number.POSITIVE_INFINITY);
  expect(widthOf({ write, isTTY: true, columns: 0 }, {})).toBe(80);
});
