import { expect, test } from "vitest";
import { egressPatternOf, headerWith, targetOf, whyNotGiven } from "./header-secrets.ts";

const header = "authorization: Bearer {value}";

test("a header goes to a host by https, at the port that is named or else at 443", () => {
  expect(targetOf({ host: "a.example" })).toEqual({ host: "a.example", port: 443 });
  expect(targetOf({ host: "a.example:8443" })).toEqual({ host: "a.example", port: 8443 });
  expect(egressPatternOf({ host: "a.example" })).toBe("a.example:443");
});

test("a value stands in its line as it is, whatever it is made of", () => {
  expect(headerWith({ header }, "$& $1 {value}")).toEqual({ name: "authorization", content: "Bearer $& $1 {value}" });
  expect(headerWith({ header: "x-key: {value}:{value}" }, "a:b")).toEqual({ name: "x-key", content: "a:b:a:b" });
});

test("two secrets cannot have one header of one host, and none goes without the gateway", () => {
  const of = (name: string, host: string, line = header) => ({ name, place: { host, header: line } });
  const a = of("A", "a.example");
  const apart = [a, of("B", "b.example"), of("C", "a.example:8443"), of("D", "a.example", "x: {value}"), { name: "V", place: null }];
  expect(whyNotGiven(apart, { isIsolated: true })).toBeNull();
  const twice = [{ name: "V", place: null }, a, of("B", "a.example", "authorization: {value}")];
  expect(whyNotGiven(twice, { isIsolated: true })).toMatch(/^The secrets A and B are both for the header authorization of a\.example\. /);
  expect(whyNotGiven([{ name: "V", place: null }], { isIsolated: false })).toBeNull();
  expect(whyNotGiven([a], { isIsolated: false })).toMatch(/^The secret A is for a header of a\.example, .* needs the sandbox driver bwrap/);
});
