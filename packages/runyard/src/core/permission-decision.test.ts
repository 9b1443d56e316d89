import { type PermissionRule, PERMISSION_VERDICTS, TOOL_KINDS, type ToolKind } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AskedCall, decidePermission } from "./permission-decision.ts";
import { normalizePolicy } from "./permission-policy.ts";

const call = (kind: ToolKind, rest: Partial<AskedCall> = {}): AskedCall => ({ kind, paths: [], command: null, isWhole: true, ...rest });
const edit = (...paths: string[]): AskedCall => call("edit", { paths });
const run = (command: string): AskedCall => call("execute", { command });
const decide = (rules: PermissionRule[], asked: AskedCall, byDefault: PermissionRule["decision"] = "ask"): string[] => {
  const { verdict, rule } = decidePermission(normalizePolicy({ rules, default: byDefault }), asked);
  return [verdict, rule];
};

describe("the first rule that fits", () => {
  const rules: PermissionRule[] = [
    { decision: "allow", kinds: ["edit"], paths: ["src/**", "docs/**"] },
    { decision: "deny", kinds: ["edit", "delete"], paths: ["src/secret/**", ".env"], name: "secrets" },
    { decision: "allow", kinds: ["execute"], commands: ["npm test*"] },
    { decision: "deny", commands: ["git push*"] },
    { decision: "deny", kinds: ["fetch"] },
  ];
  it.each<[AskedCall, string, string]>([
    [edit("src/a.ts"), "allow", "rule 1"],
    [edit("src/secret/key"), "allow", "rule 1"],
    [edit("src/a.ts", "docs/b.md"), "allow", "rule 1"],
    [edit(".env"), "deny", "secrets"],
    [edit("src/a.ts", ".env"), "deny", "secrets"],
    [edit(".env", "src/a.ts"), "deny", "secrets"],
    [edit("src/a.ts", "README.md"), "ask", "default"],
    [edit("/etc/passwd"), "ask", "default"],
    [edit(), "ask", "default"],
    [call("delete", { paths: ["src/secret/key"] }), "deny", "secrets"],
    [run("npm test -- x"), "allow", "rule 3"],
    [run("npm test && git push"), "deny", "rule 4"],
    [run("npm test; ls"), "ask", "default"],
    [call("other", { command: "git push" }), "deny", "rule 4"],
    [call("execute"), "ask", "default"],
    [call("fetch"), "deny", "rule 5"],
  ])("%j: %s by %s", (asked, verdict, rule) => {
    expect(decide(rules, asked)).toEqual([verdict, rule]);
  });

  it("decides each path by itself, and the strictest decision counts", () => {
    const each: PermissionRule[] = [
      { decision: "ask", paths: ["a"] },
      { decision: "deny", paths: ["b"] },
      { decision: "allow", paths: ["c"] },
      { decision: "allow", paths: ["d"] },
    ];
    expect(decide(each, edit("a", "b"))).toEqual(["deny", "rule 2"]);
    expect(decide(each, edit("c", "a"))).toEqual(["ask", "rule 1"]);
    expect(decide(each, edit("c", "d"))).toEqual(["allow", "rule 3"]);
  });
});

describe("what is safe", () => {
  it("does not allow a command by the paths that come with it", () => {
    const rules: PermissionRule[] = [{ decision: "allow", paths: ["**"] }];
    expect(decide(rules, call("execute", { paths: ["a"], command: "rm a" }))).toEqual(["ask", "default"]);
    expect(decide(rules, call("other", { paths: ["a"], command: "rm a" }))).toEqual(["ask", "default"]);
    expect(decide(rules, call("execute", { paths: ["a"] }))).toEqual(["ask", "default"]);
    expect(decide(rules, edit("a"))).toEqual(["allow", "rule 1"]);
  });

  it("asks for both where a rule names paths and commands", () => {
    for (const decision of PERMISSION_VERDICTS) {
      const rules: PermissionRule[] = [{ decision, paths: ["a"], commands: ["rm *"] }];
      const others = PERMISSION_VERDICTS.find((verdict) => verdict !== decision) ?? "ask";
      const fitting = (asked: AskedCall): boolean => decide(rules, asked, others)[1] === "rule 1";
      expect(fitting(call("execute", { paths: ["a"], command: "rm a" }))).toBe(true);
      expect(fitting(call("execute", { paths: ["b"], command: "rm a" }))).toBe(false);
      expect(fitting(call("execute", { paths: ["a"], command: "ls a" }))).toBe(false);
      expect(fitting(call("execute", { paths: ["a"] }))).toBe(false);
      expect(fitting(call("execute", { command: "rm a" }))).toBe(false);
    }
  });

  it("takes what is too long to be looked at for refused, and never for allowed", () => {
    const asked = call("execute", { isWhole: false });
    expect(decide([{ decision: "allow", commands: ["*"] }], asked)).toEqual(["ask", "default"]);
    expect(decide([{ decision: "deny", commands: ["git push*"] }], asked, "allow")).toEqual(["deny", "rule 1"]);
    expect(decide([{ decision: "deny", kinds: ["edit"], paths: ["a"] }], asked, "allow")).toEqual(["allow", "default"]);
    expect(decide([{ decision: "allow", kinds: ["execute"] }], asked)).toEqual(["allow", "rule 1"]);
  });

  const pattern = fc.string({ unit: fc.constantFrom("a", "b", "/", "*", "?"), minLength: 1, maxLength: 4 });
  const patterns = fc.array(pattern, { minLength: 1, maxLength: 2 });
  const kinds = fc.uniqueArray(fc.constantFrom<ToolKind>("edit", "execute", "other"), { minLength: 1 });
  const ruleOf = (decision: fc.Arbitrary<PermissionRule["decision"]>): fc.Arbitrary<PermissionRule> =>
    fc.record({ decision, kinds, paths: patterns, commands: patterns }, { requiredKeys: ["decision"] });
  const asked = fc.record({
    kind: fc.constantFrom<ToolKind>("edit", "execute", "other"),
    paths: fc.array(fc.string({ unit: fc.constantFrom("a", "b", "/"), minLength: 1, maxLength: 4 }), { maxLength: 3 }),
    command: fc.option(fc.string({ unit: fc.constantFrom("a", "b", ";"), minLength: 1, maxLength: 4 })),
    isWhole: fc.boolean(),
  });
  const strictness = (verdict: string | undefined): number => ["allow", "ask", "deny"].indexOf(verdict ?? "");

  it("adding a refusal anywhere never allows more", () => {
    const rules = fc.array(ruleOf(fc.constantFrom(...PERMISSION_VERDICTS)), { maxLength: 5 });
    const at = fc.nat(5);
    fc.assert(
      fc.property(rules, ruleOf(fc.constant("deny")), at, asked, (before, deny, place, one) => {
        const after = before.toSpliced(place, 0, deny);
        expect(strictness(decide(after, one)[0])).toBeGreaterThanOrEqual(strictness(decide(before, one)[0]));
      }),
    );
  });

  it("the first rule that fits a call with one path decides it", () => {
    const rules = fc.array(ruleOf(fc.constantFrom(...PERMISSION_VERDICTS)), { maxLength: 5 });
    fc.assert(
      fc.property(rules, asked, (all, one) => {
        const single = { ...one, paths: one.paths.slice(0, 1) };
        const [verdict, rule] = decide(all, single);
        const index = all.findIndex((candidate) => decide([candidate], single)[1] !== "default");
        expect([verdict, rule]).toEqual(index < 0 ? ["ask", "default"] : [all[index]?.decision, `rule ${index + 1}`]);
      }),
    );
  });

  it("knows every kind", () => {
    for (const kind of TOOL_KINDS) expect(decide([{ decision: "deny", kinds: [kind] }], call(kind))).toEqual(["deny", "rule 1"]);
  });
});
