import {
  type Isolation,
  MAX_PATTERN_CHARS,
  MAX_RULES,
  permissionPolicyRequestSchema,
  type PermissionPolicy,
  type PermissionRule,
  PERMISSION_VERDICTS,
  TOOL_KINDS,
  type ToolKind,
} from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AskedCall, decidePermission } from "./permission-decision.ts";
import { defaultPolicy, hasRoomFor, normalizePolicy, ruleForCallsLike, withRuleInFront } from "./permission-policy.ts";

const isolation = (filesystem: Isolation["filesystem"], network: Isolation["network"]): Isolation => ({
  filesystem,
  network,
  processes: "none",
  syscalls: "none",
});
const bare = (kind: ToolKind): AskedCall => ({ kind, paths: [], command: null, isWhole: true });
const verdictOf = (policy: Partial<PermissionPolicy>, kind: ToolKind): string =>
  decidePermission(normalizePolicy(policy), bare(kind)).verdict;

describe("lists of kinds", () => {
  const kinds = fc.subarray([...TOOL_KINDS]);
  it("put deny before ask before the default, for every policy and kind", () => {
    const byDefault = fc.constantFrom(...PERMISSION_VERDICTS, undefined);
    fc.assert(
      fc.property(kinds, kinds, byDefault, fc.constantFrom(...TOOL_KINDS), (ask, deny, given, kind) => {
        const expected = deny.includes(kind) ? "deny" : ask.includes(kind) ? "ask" : (given ?? "allow");
        expect(verdictOf({ ask, deny, ...(given && { default: given }) }, kind)).toBe(expected);
      }),
    );
  });

  it("stand behind the rules", () => {
    const rules: PermissionRule[] = [{ decision: "allow", kinds: ["execute"], commands: ["npm test*"] }];
    const policy = normalizePolicy({ rules, deny: ["execute"] });
    expect(decidePermission(policy, { ...bare("execute"), command: "npm test" })).toEqual({ verdict: "allow", rule: "rule 1" });
    expect(decidePermission(policy, { ...bare("execute"), command: "ls" })).toEqual({ verdict: "deny", rule: "deny" });
  });
});

describe("the stored form", () => {
  it("names every rule, makes rules of lists, and sums up by kind", () => {
    const rules: PermissionRule[] = [
      { decision: "allow", kinds: ["execute", "edit", "execute"], paths: ["./a", "a", "b//", "./"], commands: ["x", "x"] },
      { decision: "deny", name: "no fetching", kinds: ["fetch"] },
    ];
    expect(normalizePolicy({ rules, ask: ["execute", "fetch"], default: "allow" })).toEqual({
      ask: ["execute"],
      deny: ["fetch"],
      rules: [
        { decision: "allow", kinds: ["edit", "execute"], paths: ["a", "b/**", "**"], commands: ["x"], name: "rule 1" },
        { decision: "deny", kinds: ["fetch"], name: "no fetching" },
        { decision: "ask", kinds: ["execute"], name: "ask" },
      ],
      default: "allow",
    });
  });

  it.each<[string, string]>([
    ["/", "/"],
    ["/etc/", "/etc/**"],
    ["a/b", "a/b"],
    [".", "."],
    ["././a", "a"],
  ])("of the path %s is %s", (given, stored) => {
    expect(normalizePolicy({ rules: [{ decision: "deny", paths: [given] }] }).rules[0]?.paths).toEqual([stored]);
  });

  const pattern = fc.string({ unit: fc.constantFrom("a", "/", ".", "*", "\\"), minLength: 1, maxLength: 5 });
  const patterns = fc.array(pattern, { minLength: 1, maxLength: 3 });
  const rule = fc.record(
    {
      decision: fc.constantFrom(...PERMISSION_VERDICTS),
      kinds: fc.subarray([...TOOL_KINDS], { minLength: 1 }),
      paths: patterns,
      commands: patterns,
      name: fc.constantFrom("one", "two"),
    },
    { requiredKeys: ["decision"] },
  );
  const request = fc.record(
    {
      ask: fc.subarray([...TOOL_KINDS]),
      deny: fc.subarray([...TOOL_KINDS]),
      rules: fc.array(rule, { maxLength: 3 }),
      default: fc.constantFrom(...PERMISSION_VERDICTS),
    },
    { requiredKeys: [] },
  );
  const isolations = fc.constantFrom(isolation("hard", "hard"), isolation("none", "none"), undefined);

  it("is its own, and may be asked for as it is shown", () => {
    fc.assert(
      fc.property(request, isolations, (asked, held) => {
        const once = normalizePolicy(asked, held);
        expect(normalizePolicy(once)).toEqual(once);
        expect(normalizePolicy(once, isolation("none", "none"))).toEqual(once);
        const parsed = permissionPolicyRequestSchema.safeParse(asked);
        if (parsed.success) expect(normalizePolicy(permissionPolicyRequestSchema.parse(once))).toEqual(once);
      }),
    );
  });

  it("says by kind what happens to a call that no path or command is known of", () => {
    fc.assert(
      fc.property(request, fc.constantFrom(...TOOL_KINDS), (asked, kind) => {
        const { ask, deny } = normalizePolicy(asked);
        expect(verdictOf(asked, kind)).toBe(deny.includes(kind) ? "deny" : ask.includes(kind) ? "ask" : "allow");
      }),
    );
  });
});

describe("where nothing is said", () => {
  it("asks nothing inside a sandbox that holds the file system and the network", () => {
    const policy = defaultPolicy(isolation("hard", "hard"));
    expect(policy).toEqual({ ask: [], deny: [], rules: [], default: "allow" });
  });

  it.each([isolation("none", "none"), isolation("hard", "none"), isolation("none", "hard")])(
    "asks before harm below the floor: %o",
    (weak) => {
      expect(defaultPolicy(weak)).toMatchObject({ ask: ["edit", "delete", "move", "execute"], deny: [], default: "allow" });
      const rules: PermissionRule[] = [{ decision: "allow", kinds: ["edit"] }];
      expect(normalizePolicy({ rules }, weak)).toMatchObject({ ask: ["delete", "move", "execute"], deny: [], default: "allow" });
      expect(normalizePolicy({ rules, default: "allow" }, weak)).toMatchObject({ ask: [], deny: [] });
      expect(normalizePolicy({ deny: ["fetch"] }, weak)).toMatchObject({ ask: [], deny: ["fetch"] });
    },
  );
});

describe("an answer that is remembered", () => {
  const run = (command: string): AskedCall => ({ ...bare("execute"), command });
  const edit = (...paths: string[]): AskedCall => ({ ...bare("edit"), paths });

  it.each<[AskedCall, AskedCall[], AskedCall[]]>([
    [run(" rm *.{a,b}; ls "), [run("rm *.{a,b}; ls")], [run("rm x.a; ls"), run("rm *.{a,b}"), { ...run("rm *.{a,b}; ls"), kind: "other" }]],
    [edit("a*", "b/c"), [edit("a*"), edit("b/c", "a*")], [edit("ab"), edit("a*", "d"), edit("b")]],
    [edit("/"), [edit("/")], [edit("/x")]],
  ])("decides calls like %j alike, and no others", (asked, alike, others) => {
    const rule = ruleForCallsLike(asked, "allow", "answer to perm_1_2");
    if (rule === undefined) throw new Error("no rule");
    const policy = normalizePolicy(withRuleInFront(normalizePolicy({ default: "deny" }), rule));
    for (const one of [asked, ...alike]) expect(decidePermission(policy, one)).toEqual({ verdict: "allow", rule: "answer to perm_1_2" });
    for (const one of others) expect(decidePermission(policy, one).verdict).toBe("deny");
  });

  it("is none where the call says nothing of itself, or too much", () => {
    for (const call of [bare("fetch"), { ...run("x"), isWhole: false }, run("x".repeat(MAX_PATTERN_CHARS + 1)), run(" ")])
      expect(ruleForCallsLike(call, "allow", "x")).toBeUndefined();
  });

  it("has room while the bounds of a policy leave it", () => {
    const rule = { decision: "allow" as const, commands: ["x".repeat(2_000)], name: "x" };
    const full = (count: number, commands: string[]) =>
      normalizePolicy({ rules: Array.from({ length: count }, () => ({ decision: "deny" as const, commands })) });
    expect(hasRoomFor(full(MAX_RULES - 1, ["y"]), rule)).toBe(true);
    expect(hasRoomFor(full(MAX_RULES, ["y"]), rule)).toBe(false);
    expect(hasRoomFor(full(1, ["y".repeat(2_000)]), rule)).toBe(true);
    expect(hasRoomFor(full(1, ["y".repeat(2_000), "y"]), rule)).toBe(false);
  });
});
