import { expect, test } from "vitest";
import { joinEgress, outsideOf, whyNotAllowed } from "./egress-bounds.ts";

test("what is given adds up, and says who gave it", () => {
  expect(joinEgress({ run: ["a.com", "npm", "a.com"], organization: ["npm"], repository: null, agent: ["b.com", "a.com"] })).toEqual({
    npm: ["organization", "run"],
    "b.com": ["agent"],
    "a.com": ["agent", "run"],
  });
  expect(joinEgress({})).toEqual({});
});

test("what a ceiling does not hold is outside of it", () => {
  const outside = (host: string, ...ceiling: string[]) => outsideOf(host, ceiling).length > 0;
  for (const [host, ceiling] of [
    ["a.example.com", "a.example.com"],
    ["a.example.com", "*.example.com"],
    ["a.b.example.com", "*.example.com"],
    ["*.example.com", "*.example.com"],
    ["*.a.example.com", "*.example.com"],
    ["a.example.com:443", "a.example.com"],
    ["a.example.com:8443", "*.example.com:8443"],
    ["npm", "npm"],
    ["registry.npmjs.org", "npm"],
  ] as const)
    expect([host, ceiling, outside(host, ceiling)]).toEqual([host, ceiling, false]);
  for (const [host, ceiling] of [
    ["example.com", "*.example.com"],
    ["*.example.com", "a.example.com"],
    ["*.com", "*.example.com"],
    ["notexample.com", "*.example.com"],
    ["a.example.com:8443", "a.example.com"],
    ["a.example.com", "a.example.com:443"],
    ["npm", "registry.npmjs.org"],
  ] as const)
    expect([host, ceiling, outside(host, ceiling)]).toEqual([host, ceiling, true]);
  expect(outside("a.example.com", "a.example.com:443", "*.example.com:80")).toBe(false);
  expect(outside("a.com")).toBe(true);
  expect(outsideOf("a.com", null)).toEqual([]);
});

test("what is not allowed is named with its preset, with who gave it, and with the setting", () => {
  const from = joinEgress({ repository: ["npm"], run: ["api.example.com", "npm"] });
  expect(whyNotAllowed(from, null)).toBeNull();
  expect(whyNotAllowed(from, ["npm", "*.example.com"])).toBeNull();
  expect(whyNotAllowed(from, ["*.npmjs.org"])).toBe(
    "The organization does not allow its runs to reach *.yarnpkg.com (npm, of the repository and the run), api.example.com (of the run): its setting `egressAllowed` stands in the way. Leave out what is not allowed, or have it added: runyard organization --egress-allowed",
  );
  expect(whyNotAllowed(from, [])).toMatch(/reach \*\.npmjs\.org \(npm, of the repository and the run\)/);
});
