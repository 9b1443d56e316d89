import fc from "fast-check";
import { expect, test } from "vitest";
import { neutralLine, neutralMarkdown, neutralMessage, plainLine, plainText } from "./neutral-text.ts";

const Z = "\u200b";
const neutral = (text: string): string => neutralMarkdown(text, { allowReferences: false });
const allowed = (text: string): string => neutralMarkdown(text, { allowReferences: true });

test("what is no text is left out, and line breaks are line breaks", () => {
  expect(plainText("a\u0000\u001b[31mb\r\nc\rd\te\u202ef\u2066g\u{e0041}h")).toBe("a[31mb\nc\nd\tefgh");
  expect(plainText(`${Z}@${Z}`)).toBe("@");
});

test("a line is one line, cut where it is too long", () => {
  expect(plainLine("  one\n\ntwo\tthree ", 80)).toBe("one two three");
  expect(plainLine("abcdef", 6)).toBe("abcdef");
  expect(plainLine("abcdefg", 6)).toBe("abcde…");
  expect(plainLine("😀😀😀", 2)).toBe("😀…");
});

test.each([
  ["@octocat and @acme/team", `@${Z}octocat and @${Z}acme/team`],
  ["fixes #12, closes acme/app#7", `fixes #${Z}12, closes acme/app#${Z}7`],
  ["resolves GH-3", `resolves GH-${Z}3`],
  ["Fixes https://github.com/acme/app/issues/12", `Fixes https://github.com/acme/app/issues/${Z}12`],
  ["see https://git.example.com/a/b/pull/9", `see https://git.example.com/a/b/pull/${Z}9`],
  ["&#64;octocat &commat;octocat", `&${Z}#${Z}64;octocat &${Z}commat;octocat`],
  ["![x](https://tracker.example/pixel.png)", `!${Z}[x]${Z}(https://tracker.example/pixel.png)`],
  ["[click][1]\n[1]: https://evil.example", `[click]${Z}[1]\n[1]${Z}: https://evil.example`],
  ["<img src=x> <!-- runyard:run_1 --> </details> <?x", `<${Z}img src=x> <${Z}!-- runyard:run_1 --> <${Z}/details> <${Z}?x`],
  ["a & b < c # heading", "a & b < c # heading"],
  ["`if (a < 3 && b[0] > 1)`", "`if (a < 3 && b[0] > 1)`"],
])("%s is shown and does nothing", (text, shown) => {
  expect(neutral(text)).toBe(shown);
});

test("references are let alone where they are allowed, and nothing else is", () => {
  expect(allowed("fixes #12, @octocat")).toBe("fixes #12, @octocat");
  expect(allowed("<img> ![a](b)")).toBe(`<${Z}img> !${Z}[a]${Z}(b)`);
});

test("the message of a commit refers to nothing, and says who wrote it", () => {
  const message = "Fix it (fixes #12, for @octocat)\n\nCo-authored-by: Ann <ann@example.com>\nRunyard-Run: run_1\n";
  const shown = `Fix it (fixes #${Z}12, for @${Z}octocat)\n\nCo-authored-by: Ann <ann@example.com>\nRunyard-Run: run_1\n`;
  expect(neutralMessage(message)).toBe(shown);
  expect(neutralMessage("Nothing of it 👨‍👩‍👧\n")).toBe("Nothing of it 👨‍👩‍👧\n");
});

test("the message of a commit mentions nobody, whatever byte an agent has put there in place of the sign", () => {
  expect(neutralMessage("Fix it\n\n\u0000octocat, a@b.example\n")).toBe("Fix it\n\n\u0000octocat, a@b.example\n");
});

test.each([
  ["Fix it [skip ci]", `Fix it [${Z}skip ci]`],
  ["[No CI] [actions skip] Fix it", `[${Z}No CI] [${Z}actions skip] Fix it`],
  ["Fix it\n\n\nskip-checks: true\n", `Fix it\n\n\nskip-checks${Z}: true\n`],
  ["Say what skip-checks: does, and [skip] ci\n", "Say what skip-checks: does, and [skip] ci\n"],
])("the message of a commit does not keep it from being checked: %j", (message, shown) => {
  expect(neutralMessage(message)).toBe(shown);
  expect(neutralMessage(shown)).toBe(shown);
});

test("a title is one line without references", () => {
  expect(neutralLine("Fixes #1\nfor @octocat", { allowReferences: false, longest: 100 })).toBe(`Fixes #${Z}1 for @${Z}octocat`);
  expect(neutralLine("Fixes #1", { allowReferences: true, longest: 100 })).toBe("Fixes #1");
});

test("nothing that can be read is lost, and no sign has its force", () => {
  const part = fc.constantFrom("@", "#", "1", "x", "GH-", "<", "!", "[", "]", "(", "&", ";", "/issues/", "\n", Z, "\r");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 30 }), (parts) => {
      const text = parts.join("");
      const shown = neutral(text);
      expect(shown.replaceAll(Z, "")).toBe(plainText(text));
      expect(shown).not.toMatch(/@[a-z]|#\d|GH-\d|<[a-z!/?]|!\[|\][[(:]|&[#a-z]|\/issues\/\d/i);
    }),
  );
});
