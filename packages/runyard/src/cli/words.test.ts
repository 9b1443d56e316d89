import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { splitWords } from "./words.ts";

test.each([
  ["node my-agent.mjs", ["node", "my-agent.mjs"]],
  ["  a   b\tc\n", ["a", "b", "c"]],
  [`node 'my agent.mjs' --name="O'Brien \\"x\\""`, ["node", "my agent.mjs", `--name=O'Brien "x"`]],
  [String.raw`a\ b '' ""`, ["a b", "", ""]],
  ["", []],
])("%j", (line, words) => {
  expect(splitWords(line)).toEqual(words);
});

test.each(["'open", `"open`, "a 'b"])("refuses a quote that is not closed: %s", (line) => {
  expect(() => splitWords(line)).toThrow("A quote is not closed");
});

test("splits as a shell does", () => {
  // No expansions and no operators: those characters mean nothing to an argument list.
  const piece = fc.constantFrom("a", "B", " ", "'", '"', "\\", "é", "-", "=");
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join("")),
      (line) => {
        let expected: string[];
        try {
          const out = execFileSync("sh", ["-c", `printf '%s\\n' x ${line}\n`], { stdio: ["ignore", "pipe", "ignore"], encoding: "utf8" });
          expected = out.split("\n").slice(1, -1);
        } catch {
          return; // not a command that a shell takes
        }
        if (line.endsWith("\\")) return; // to a shell, that continues on the next line
        expect(splitWords(line)).toEqual(expected);
      },
    ),
    { numRuns: 150 },
  );
});
