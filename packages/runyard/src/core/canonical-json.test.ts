import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";

test("the order of fields makes no difference, that of a list does", () => {
  expect(canonicalJson({ b: [2, { y: null, x: "ü" }], a: 1 })).toBe('{"a":1,"b":[2,{"x":"ü","y":null}]}');
  expect(canonicalJson({ a: 1, b: undefined })).toBe(canonicalJson({ a: 1 }));
  expect(canonicalJson([undefined])).toBe("[null]");
  expect(canonicalJson([1, 2])).not.toBe(canonicalJson([2, 1]));
});

test("it is JSON of the same value, whatever the value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
    }),
  );
});

/** The same value with the fields of all its objects the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, inner]) => [name, reversed(inner)]),
  );
}
