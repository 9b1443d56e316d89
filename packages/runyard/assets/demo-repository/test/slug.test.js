import assert from "node:assert/strict";
import { test } from "node:test";
import { slugify } from "../src/slug.js";

test("a word is written in lower case", () => {
  assert.equal(slugify("Runyard"), "runyard");
});

test("punctuation is left out", () => {
  assert.equal(slugify("Hello, World!"), "hello-world");
});

test("white space around a title is left out", () => {
  assert.equal(slugify("  Release notes "), "release-notes");
});

test("every gap between words becomes a hyphen", () => {
  assert.equal(slugify("How to write tests"), "how-to-write-tests");
});

test("a wide gap becomes one hyphen", () => {
  assert.equal(slugify("Ten   rules"), "ten-rules");
});
