import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { noticesFor } from "./notices.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "runyard-notices-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Makes a package below node_modules and returns a file of it. */
function packageAt(place: string, licence: string, texts: Readonly<Record<string, string>> = {}): string {
  const root = path.join(dir, "node_modules", place);
  mkdirSync(path.join(root, "lib"), { recursive: true });
  const name = place.split("/node_modules/").at(-1);
  writeFileSync(path.join(root, "package.json"), JSON.stringify({ name, version: "1.2.3", license: licence }));
  for (const [file, text] of Object.entries(texts)) writeFileSync(path.join(root, file), text);
  return path.join(root, "lib/index.js");
}

test("each package is named once, with all that it says of its licence", () => {
  const b = packageAt("b", "MIT", { "LICENSE.md": "Licence of b\r\n", NOTICE: "Notice of b\n", "README.md": "Not this" });
  const scoped = packageAt("@a/c", "(GPL-3.0-only OR ISC)", { licence: "Licence of c" });
  const nested = packageAt("@a/c/node_modules/b", "MIT", { "LICENSE.md": "Licence of b", NOTICE: "Notice of b" });
  const notices = noticesFor([b, scoped, nested, path.join(path.dirname(b), "other.js"), path.join(dir, "src/own.ts")]);
  expect(notices.split("\n").slice(2)).toEqual([
    "@a/c 1.2.3, (GPL-3.0-only OR ISC)",
    "---------------------------------",
    "",
    "Licence of c",
    "",
    "b 1.2.3, MIT",
    "------------",
    "",
    "Licence of b",
    "",
    "Notice of b",
    "",
  ]);
});

test("without a text of its own, a package under our own licence refers to ours", () => {
  expect(noticesFor([packageAt("b", "Apache-2.0")])).toContain(
    "b 1.2.3, Apache-2.0\n-------------------\n\nThe text of this licence is in the file LICENSE",
  );
});

test("a package whose text of another licence is missing is not shipped", () => {
  expect(() => noticesFor([packageAt("b", "MIT")])).toThrow("b 1.2.3, MIT would be shipped, and no text of its licence is in its package.");
});

test("a licence that is not on the list is not shipped", () => {
  expect(() => noticesFor([packageAt("b", "GPL-3.0-only", { LICENSE: "Text" })])).toThrow("its licence is not on the list");
});
