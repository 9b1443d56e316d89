import { EGRESS_PRESETS, egressSchema } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allowsTarget, egressPatterns, parseTarget } from "./egress.ts";

describe("a target", () => {
  test.each([
    ["example.com:443", { host: "example.com", port: 443 }],
    ["API.Example.com:8443", { host: "api.example.com", port: 8443 }],
    ["xn--bcher-kva.example:1", { host: "xn--bcher-kva.example", port: 1 }],
    ["a_b.example.com:80", { host: "a_b.example.com", port: 80 }],
  ])("%s", (authority, target) => expect(parseTarget(authority, null)).toEqual(target));

  test("has the usual port where it names none", () => {
    expect(parseTarget("example.com", 80)).toEqual({ host: "example.com", port: 80 });
    expect(parseTarget("example.com", null)).toBeNull();
  });

  test.each(
    [
      "127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f000001",
      "0x7f.1",
      "0177.0.0.1",
      "1.0x7f",
      "[::1]",
      "::1",
      "[::ffff:127.0.0.1]",
      "1.2.3.4.5",
    ].concat(
      ["localhost", "com", "example.com.", ".example.com", "example..com", "-a.example.com", "a-.example.com", "a".repeat(64) + ".com"],
      [
        "user@example.com",
        "example.com/x",
        "example.com?x",
        "example.com#x",
        "example.com\\x",
        "exa mple.com",
        "example.com\0.allowed.com",
      ],
      [
        "exämple.com",
        "example。com",
        "ⅇxample.com",
        "example.com%00",
        "example.com\r\nx: y",
        "*.example.com",
        "",
        "a.".repeat(127) + "com",
      ],
    ),
  )("%j is none", (name) => {
    expect(parseTarget(`${name}:443`, null)).toBeNull();
    expect(parseTarget(name, 443)).toBeNull();
  });

  test.each(["example.com:0", "example.com:65536", "example.com:443:443", "example.com:", "example.com:x", "example.com:4 43"])(
    "%j is none",
    (authority) => expect(parseTarget(authority, 443)).toBeNull(),
  );
});

describe("a list", () => {
  const allows = (list: readonly string[], host: string, port = 443): boolean =>
    allowsTarget(egressPatterns(egressSchema.parse(list)), { host, port });

  test("allows hosts exactly, or all below one", () => {
    expect(allows(["Example.com"], "example.com")).toBe(true);
    expect(allows(["example.com"], "a.example.com")).toBe(false);
    expect(allows(["*.example.com"], "a.b.example.com")).toBe(true);
    for (const host of ["example.com", "badexample.com", ".example.com", "example.com.evil.org"])
      expect(allows(["*.example.com"], host)).toBe(false);
    expect(allows([], "example.com")).toBe(false);
  });

  test("allows the two usual ports, or the one that it names", () => {
    expect([443, 80, 22, 8443].map((port) => allows(["example.com"], "example.com", port))).toEqual([true, true, false, false]);
    expect([443, 80, 22, 8443].map((port) => allows(["example.com:8443"], "example.com", port))).toEqual([false, false, false, true]);
  });

  test("knows registries by name", () => {
    for (const [name, hosts] of Object.entries(EGRESS_PRESETS))
      for (const host of hosts) expect(allows([name], host.replace("*", "a"))).toBe(true);
    expect(egressPatterns(["pypi", "pypi.org", "*.pypi.org"])).toEqual(["pypi.org", "files.pythonhosted.org", "*.pypi.org"]);
  });

  test.each([
    "127.0.0.1",
    "*",
    "*.com.",
    "example",
    "localhost",
    "exämple.com",
    "http://example.com",
    "example.com/x",
    "a.*.com",
    "*.1",
    "a.com:0",
    "a.com:99999",
    "a.com:",
    "toString",
  ])("%j can be in none", (pattern) =>
    expect(egressSchema.safeParse([pattern]).error?.issues[0]?.message).toContain("must be a host like"),
  );

  test("what it can hold, it allows, and whatever it allows is a target", () => {
    const host = fc.domain();
    fc.assert(
      fc.property(host, fc.string(), (name, other) => {
        if (egressSchema.safeParse([name]).success) expect(allows([name], name.toLowerCase())).toBe(true);
        const target = parseTarget(`${other}:443`, null);
        if (target !== null) expect(allows([target.host], target.host)).toBe(true);
      }),
    );
  });
});
