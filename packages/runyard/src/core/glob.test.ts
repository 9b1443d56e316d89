import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeGlob, matchesGlob } from "./glob.ts";

const path = { isPath: true };
const line = { isPath: false };

describe("in a path", () => {
  it.each([
    ["a.txt", ["a.txt"], ["b.txt", "a.txt/", "xa.txt", "a_txt"]],
    ["*", ["a", ".env", "."], ["a/b"]],
    ["src/*.ts", ["src/a.ts", "src/.ts"], ["src/a/b.ts", "src/a.tsx"]],
    ["src/**", ["src", "src/a", "src/a/b"], ["srcs", "lib/src"]],
    ["**/*.ts", ["a.ts", "a/b/c.ts"], ["a.js"]],
    ["**", ["a", "a/b", "."], []],
    ["a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "xa/b"]],
    ["a**b", ["ab", "a/x/b", "axb"], ["a/x"]],
    ["***", ["a/b"], []],
    ["a/***", ["a/b/c"], ["a"]],
    ["/etc/**", ["/etc", "/etc/x/y"], ["etc/x"]],
    ["?.ts", ["a.ts", "é.ts", "😀.ts"], ["ab.ts", "/.ts"]],
    ["{src,lib}/*.ts", ["src/a.ts", "lib/a.ts"], ["a.ts", "{src,lib}/a.ts"]],
    ["{a/**,b}", ["a", "a/x/y", "b"], ["b/x"]],
    ["{a/**x,b}", ["a/x", "a/y/zx", "b"], ["a"]],
    ["{a,**/b}", ["a", "b", "x/y/b"], ["x/a"]],
    ["x{**/,}a", ["xa", "xy/a"], ["y/a"]],
    ["{a,{b,c}d}e", ["ae", "bde", "cde"], ["be", "ade"]],
    ["a{,.bak}", ["a", "a.bak"], ["a."]],
    ["{a}", ["{a}"], ["a"]],
    ["{a,b", ["{a,b"], ["a"]],
    ["a}", ["a}"], ["a"]],
    ["{x/**},y}", ["{x/},y}", "{x/a},y}"], ["x"]],
    ["[id].ts", ["[id].ts"], ["i.ts"]],
    [String.raw`\*.{\{,\,}`, ["*.{", "*.,"], ["a.{"]],
    [String.raw`a\b`, ["ab"], [String.raw`a\b`]],
    ["a\\", ["a\\"], ["a"]],
    [String.raw`a\/**/b`, ["a/b", "a/x/b"], ["ab"]],
  ])("%s", (pattern, fitting, others) => {
    for (const text of fitting) expect([text, matchesGlob(pattern, text, path)]).toEqual([text, true]);
    for (const text of others) expect([text, matchesGlob(pattern, text, path)]).toEqual([text, false]);
  });
});

describe("in a line", () => {
  it.each([
    ["npm test*", ["npm test", "npm test -- a/b", "npm tests"], ["npm  test", " npm test"]],
    ["git * --force", ["git push a/b --force"], ["git --force"]],
    ["a/**", ["a/", "a/b/c"], ["a"]],
    ["**/a", ["/a", "x/y/a"], ["a"]],
  ])("%s", (pattern, fitting, others) => {
    for (const text of fitting) expect([text, matchesGlob(pattern, text, line)]).toEqual([text, true]);
    for (const text of others) expect([text, matchesGlob(pattern, text, line)]).toEqual([text, false]);
  });

  it("keeps characters away from wildcards, and takes them where they are written", () => {
    const rules = { isPath: false, literalOnly: new Set([";"]) };
    expect(["a*", "?;?", "a;*", "**"].map((pattern) => matchesGlob(pattern, "a;b", rules))).toEqual([false, true, true, false]);
  });
});

/** What a pattern means, said in another way: every choice of alternatives, tried one after the other. */
function means(pattern: string, text: string): boolean {
  const group = /^((?:[^{}])*)\{([^{}]*),([^{},]*)\}(.*)$/s.exec(pattern);
  if (group) {
    const [, before, rest, last, after] = group;
    return [...String(rest).split(","), String(last)].some((choice) => means(`${before}${choice}${after}`, text));
  }
  if (pattern === "") return text === "";
  if (pattern.startsWith("*")) return means(pattern.slice(1), text) || (text !== "" && means(pattern, text.slice(1)));
  return text !== "" && (pattern[0] === "?" || pattern[0] === text[0]) && means(pattern.slice(1), text.slice(1));
}

describe("every pattern", () => {
  const part = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 4 });
  const pattern = fc
    .tuple(part, fc.array(part, { minLength: 2, maxLength: 3 }), part)
    .map(([before, choices, after]) => `${before}{${choices.join(",")}}${after}`);
  const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 8 });

  it("means what trying each choice by itself means", () => {
    fc.assert(fc.property(fc.oneof(part, pattern), text, (glob, subject) => matchesGlob(glob, subject, line) === means(glob, subject)));
  });

  it("of escaped text matches that text, and no other", () => {
    const any = fc.string({ unit: fc.constantFrom("a", "/", "*", "?", "{", "}", ",", "\\", "\n"), maxLength: 8 });
    fc.assert(
      fc.property(any, any, fc.boolean(), (one, other, isPath) => {
        expect(matchesGlob(escapeGlob(one), one, { isPath })).toBe(true);
        expect(matchesGlob(escapeGlob(one), other, { isPath })).toBe(one === other);
      }),
    );
  });

  it.each([
    ["stars", `${"a*".repeat(400)}b`, "a".repeat(4_000)],
    ["stars and folders", `${"**/a*".repeat(300)}b`, "a/".repeat(2_000)],
    ["choices", `${"{a,aa}".repeat(300)}b`, "a".repeat(600)],
    ["choices in choices", `${"{a,".repeat(400)}a${"}".repeat(400)}b`, "a".repeat(2_000)],
  ])("is done with in bounded steps, made to be slow with %s", (_, glob, subject) => {
    // Trying one way after the other would not end in the life of this machine.
    expect(matchesGlob(glob, `${subject}!`, path)).toBe(false);
  });
});
