import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createFinder, createRedactor } from "./redact.ts";

const VALUE = 'dé"coy\\va/lue+of %41 a?secret&=';
const redactor = createRedactor([], [{ name: "TOKEN", value: VALUE }]);
const base64 = Buffer.from(VALUE).toString("base64");
const wrapped = (text: string, width: number, by: string): string => text.match(new RegExp(`.{1,${width}}`, "g"))?.join(by) ?? "";

test.each([
  ["as it is", VALUE],
  ["in JSON", JSON.stringify({ a: VALUE })],
  ["in JSON in JSON", JSON.stringify({ a: JSON.stringify({ b: VALUE }) })],
  ["in JSON with escapes beyond ASCII", JSON.stringify(VALUE).replace("é", "\\u00e9")],
  ["in JSON with escaped slashes", JSON.stringify(VALUE).replaceAll("/", "\\/")],
  ["in a URL", `https://x.test/?a=${encodeURIComponent(VALUE)}&b`],
  ["in a URL, in small letters", `a=${encodeURIComponent(VALUE).replaceAll(/%../g, (code) => code.toLowerCase())}`],
  ["in a URL that keeps what it may", `a=${encodeURIComponent(VALUE).replaceAll("%2F", "/").replaceAll("%3D", "=")}`],
  ["in a URL that encodes everything", [...Buffer.from(VALUE)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")],
  ["in base64", `x ${base64} y`],
  ["in base64 behind one byte", Buffer.from(`u${VALUE}`).toString("base64")],
  ["in base64 behind two bytes", Buffer.from(`u:${VALUE}:p`).toString("base64")],
  ["in base64 for URLs", Buffer.from(VALUE).toString("base64url")],
  ["in base64 of several lines", wrapped(base64, 10, "\n")],
  ["in base64 of several lines, in JSON", JSON.stringify(wrapped(base64, 10, "\r\n"))],
  ["broken into lines", wrapped(VALUE, 7, "\n")],
])("a secret is found %s", (_, text) => {
  const hidden = redactor.text(text);
  expect(hidden).toContain("[secret TOKEN]");
  for (const part of [VALUE.slice(0, 8), VALUE.slice(-8), base64.slice(4, 12), base64.slice(-12, -4), "coy%", "?secr"])
    expect(hidden).not.toContain(part);
  expect(redactor.bytes(Buffer.from(text)).toString()).toBe(hidden);
  // The control: what stands around it stays, and a text without it is left alone.
  expect(redactor.text(`größe ${text} größe`)).toMatch(/^größe .*größe$/s);
  const other = text.replaceAll("o", "0").replaceAll("O", "0").replaceAll(/[cC]/g, "k");
  expect(createRedactor([], [{ name: "TOKEN", value: "another-one" }]).text(other)).toBe(other);
});

test("bytes that are no text stay as they were", () => {
  const bytes = gzipSync(Buffer.from("x".repeat(500)));
  const around = Buffer.concat([bytes, Buffer.from(VALUE), bytes]);
  expect(redactor.bytes(bytes)).toBe(bytes);
  expect(redactor.bytes(around)).toEqual(Buffer.concat([bytes, Buffer.from("[secret TOKEN]"), bytes]));
});

test("secrets that overlap are hidden as one, and a value that is part of another does not cut it in two", () => {
  const several = createRedactor(
    [],
    [
      { name: "SHORT", value: "inside" },
      { name: "LONG", value: "the inside of" },
      { name: "NEXT", value: "of it all" },
    ],
  );
  expect(several.text("a the inside of it all b inside")).toBe("a [secret LONG] b [secret SHORT]");
});

test("a value of several lines is found whole, and each of its long lines alone", () => {
  const lines = ["-----BEGIN DECOY KEY-----", "MIIEpAIBAAKCAQEA0decoy", "Q2FuYXJ5IG9mIGEga2V5", "short", "-----END DECOY KEY-----"];
  const key = createRedactor([], [{ name: "KEY", value: `${lines.join("\n")}\n` }]);
  expect(key.text(`x\n${lines.join("\n")}\ny`)).toBe("x\n[secret KEY]y".replace("]y", "]y"));
  expect(key.text(JSON.stringify(lines.join("\n")))).toContain("[secret KEY]");
  expect(key.text(`> ${lines[1]}`)).toBe("> [secret KEY]");
  // Its armour is in every key, and short lines in every text.
  expect(key.text(`${lines[0]} short`)).toBe(`${lines[0]} short`);
});

test("JSON values are redacted through and through, and left alone where there is nothing", () => {
  const plain = { a: [1, "x", null], b: { c: true } };
  expect(redactor.json(plain)).toBe(plain);
  expect(redactor.json({ [VALUE]: [{ b: `x${VALUE}` }, 1], c: plain })).toEqual({
    "[secret TOKEN]": [{ b: "x[secret TOKEN]" }, 1],
    c: plain,
  });
});

test("the beginning of a secret at the end of a text is told, also where it is broken into lines", () => {
  const simple = createRedactor([], [{ name: "T", value: "abcdefgh" }]);
  for (const [text, count] of [
    ["xabc", 3],
    ["abcdefg", 7],
    ["x", 0],
    ["abcdefgh!", 0],
    ["xab\ncd\n", 6],
    ["YWJj", 4],
    ["x%61%6", 5],
    ["x\\u0061b\\", 8],
    ["x%", 1],
    ["x%20", 0],
  ] as const)
    expect([text, simple.beginningAtEnd(text)]).toEqual([text, count]);
});

test("keys of providers are hidden as before, and short ones are not", () => {
  const keys = createRedactor(["sk-decoy-key-0123456789", "none", null]);
  expect(keys.text("none sk-decoy-key-0123456789")).toBe("none [redacted]");
  expect(createRedactor([]).isIdle).toBe(true);
});

test("a text is found wherever it stands among others, and only there", () => {
  const needle = fc.stringMatching(/^[ab]{2,5}$/);
  fc.assert(
    fc.property(fc.array(needle, { maxLength: 4 }), fc.stringMatching(/^[abc]{0,30}$/), (needles, text) => {
      expect(createFinder(needles)(Buffer.from(text))).toBe(needles.some((one) => text.includes(one)));
    }),
  );
  const long = "x".repeat(1_000);
  expect(createFinder([`${long}y`])(Buffer.from(`z${long}${long}`))).toBe(false);
  expect(createFinder([`${long}y`, "never"])(Buffer.from(`z${long}${long}y`))).toBe(true);
});
