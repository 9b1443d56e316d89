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

const of = (name: string, host: string, line = header) => ({ name, place: { host, header: line } });
const PLAIN = { name: "V", place: null };
const ANY = { isIsolated: true, egressAllowed: null };

test("two secrets cannot have one header of one host", () => {
  const a = of("A", "a.example");
  const apart = [a, of("B", "b.example"), of("C", "a.example:8443"), of("D", "a.example", "x: {value}"), PLAIN];
  expect(whyNotGiven(apart, ANY)).toBeNull();
  const message = expect.stringMatching(/^The secrets A and B are both for the header authorization of a\.example\. /) as string;
  expect(whyNotGiven([PLAIN, a, of("B", "a.example", "authorization: {value}")], ANY)).toEqual({ code: "invalid_request", message });
});

test("none goes without the gateway, nor to a host that the organization does not allow", () => {
  const bare = { ...ANY, isIsolated: false };
  expect(whyNotGiven([PLAIN], bare)).toBeNull();
  const needs = expect.stringMatching(/^The secret A is for a header of a\.example, .* needs the sandbox driver bwrap/) as string;
  expect(whyNotGiven([of("A", "a.example")], bare)).toEqual({ code: "sandbox_not_available", message: needs });

  const bounded = { ...ANY, egressAllowed: ["*.a.example", "b.example", "c.example:8443"] };
  for (const host of ["x.a.example", "b.example", "c.example:8443"])
    expect([host, whyNotGiven([of("A", host)], bounded)]).toEqual([host, null]);
  for (const host of ["a.example", "x.b.example", "b.example:8443", "c.example"]) {
    const message = expect.stringContaining(`The secret A is for a header of ${host}, which the organization does not allow`) as string;
    expect(whyNotGiven([PLAIN, of("A", host)], bounded)).toEqual({ code: "egress_not_allowed", message });
  }
});
