import { CHECK_CONCLUSIONS, checksSettingsSchema } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checksError,
  checksPace,
  checksFinished,
  type ChecksLook,
  type ChecksSoFar,
  decideChecks,
  namesOf,
  type SeenCheck,
  soFarWith,
} from "./checks.ts";

const HEAD = "a".repeat(40);
const settings = checksSettingsSchema.parse({ watch: true });
const pace = checksPace(1_000);

let next = 0;
function check(name: string, conclusion: SeenCheck["conclusion"], more: Partial<SeenCheck> = {}): SeenCheck {
  next += 1;
  return { id: next, name, conclusion, url: `https://ci.example/${name}`, suite: 1, commit: HEAD, ...more };
}

/** A second look at the same checks. */
function look(seen: readonly SeenCheck[], more: Partial<ChecksLook> = {}): ChecksLook {
  const first: ChecksLook = { settings, pace, commit: HEAD, seen, before: null, ageMs: 1_000, looks: 1, picture: null, ...more };
  const decided = decideChecks(first);
  return { ...first, picture: decided.type === "wait" ? decided.picture : null };
}

const names = (decided: ReturnType<typeof decideChecks>) => ("checks" in decided ? decided.checks.map(({ name }) => name) : null);

describe("what the conclusions mean", () => {
  test.each(["success", "neutral", "skipped"] as const)("%s passes", (conclusion) => {
    expect(decideChecks(look([check("unit", conclusion)])).type).toBe("passed");
  });
  test.each(["failure", "error", "timed_out", "startup_failure"] as const)("%s goes back to the agent", (conclusion) => {
    const decided = decideChecks(look([check("lint", "success"), check("unit", conclusion)]));
    expect([decided.type, names(decided)]).toEqual(["feed-back", ["unit"]]);
  });
  test.each(["cancelled", "stale"] as const)("%s fails the run, because nothing in the code would change it", (conclusion) => {
    const decided = decideChecks(look([check("unit", conclusion)]));
    expect([decided.type, names(decided)]).toEqual(["failed", ["unit"]]);
  });
  test.each(["pending", "action_required"] as const)("%s is waited for, and given up on at the end of the time", (conclusion) => {
    const seen = [check("lint", "success"), check("unit", conclusion)];
    expect(decideChecks(look(seen)).type).toBe("wait");
    const decided = decideChecks(look(seen, { ageMs: settings.timeout }));
    expect([decided.type, names(decided)]).toEqual(["gave-up", ["unit"]]);
  });
});

describe("when something is decided", () => {
  test("not before two looks have seen the same", () => {
    const seen = [check("unit", "success")];
    const first = decideChecks({ ...look(seen), picture: null });
    expect(first.type).toBe("wait");
    const picture = first.type === "wait" ? first.picture : null;
    expect(decideChecks({ ...look(seen), picture }).type).toBe("passed");
    // One that needed the others has come.
    expect(decideChecks({ ...look([...seen, check("deploy", "success")]), picture }).type).toBe("wait");
  });
  test("what failed waits for the others, so that the agent is told of everything at once", () => {
    const seen = [check("unit", "failure"), check("lint", "pending")];
    expect(decideChecks(look(seen)).type).toBe("wait");
    expect(names(decideChecks(look(seen, { ageMs: settings.timeout })))).toEqual(["unit"]);
  });
  test("no check at all is the answer once the grace is over", () => {
    expect(decideChecks(look([], { ageMs: pace.graceMs - 1 })).type).toBe("wait");
    expect(decideChecks(look([], { ageMs: pace.graceMs }))).toEqual({ type: "none" });
    expect(decideChecks(look([], { settings: { ...settings, timeout: 60_000 }, ageMs: 60_000 }))).toEqual({ type: "none" });
  });
  test("looks become rarer, and the last one is at the end of the time", () => {
    const delays = [0, 1, 2, 3, 20].map((looks) => {
      const decided = decideChecks(look([check("unit", "pending")], { looks }));
      return decided.type === "wait" ? decided.delayMs : null;
    });
    expect(delays).toEqual([10_000, 15_000, 22_500, 33_750, 60_000]);
    const last = decideChecks(look([check("unit", "pending")], { ageMs: settings.timeout - 5 }));
    expect(last).toMatchObject({ type: "wait", delayMs: 5 });
  });
});

describe("which checks count", () => {
  test("of several runs of one check the newest; the same name in another suite is another check", () => {
    const old = check("unit", "failure", { id: 1 });
    const again = check("unit", "success", { id: 2 });
    expect(decideChecks(look([again, old])).type).toBe("passed");
    expect(decideChecks(look([old, again])).type).toBe("passed");
    const elsewhere = check("unit", "success", { id: 3, suite: 2 });
    const status = check("unit", "success", { id: 4, suite: null });
    const decided = decideChecks(look([old, elsewhere, status]));
    expect([decided.type, names(decided)]).toEqual(["feed-back", ["unit"]]);
  });
  test("none of another commit", () => {
    expect(decideChecks(look([check("unit", "success"), check("unit", "failure", { commit: "b".repeat(40) })])).type).toBe("passed");
  });
  test("none that is ignored, by its name or by a part of it; only * stands for others", () => {
    const ignoring = (...ignored: string[]) => ({ settings: { ...settings, ignored } });
    const seen = [check("unit", "success"), check("e2e / chrome (1?)", "failure"), check("a{b,c}", "failure")];
    expect(decideChecks(look(seen, ignoring("e2e / *", "a{b,c}"))).type).toBe("passed");
    expect(decideChecks(look(seen, ignoring("e2e / chrome (1?)", "*}"))).type).toBe("passed");
    expect(names(decideChecks(look(seen, ignoring("e2e", "ab", "e2e / chrome (??)"))))).toEqual(["a{b,c}", "e2e / chrome (1?)"]);
  });
});

const told = (rounds: number, fedBack: Record<string, number>, commit = "d".repeat(40)): ChecksSoFar => ({ commit, rounds, fedBack });

describe("how often a check goes back", () => {
  const seen = [check("e2e", "failure"), check("unit", "failure")];
  const own = { ...settings, retriesByCheck: { e2e: 1, unit: 5 } };
  test("as often as the repository has it, or the check itself", () => {
    expect(names(decideChecks(look(seen, { settings: own, before: told(4, { e2e: 1, unit: 4 }) })))).toEqual(["unit"]);
    const decided = decideChecks(look(seen, { settings: own, before: told(4, { e2e: 1, unit: 5 }) }));
    expect([decided.type, names(decided)]).toEqual(["failed", ["e2e", "unit"]]);
  });
  test("never, where there is no retry; names of others find nothing that was not given", () => {
    expect(decideChecks(look(seen, { settings: { ...settings, retries: 0 } })).type).toBe("failed");
    expect(names(decideChecks(look([check("constructor", "failure")], { before: told(1, {}) })))).toEqual(["constructor"]);
  });
  test("checks that fail one after the other share the repository's number", () => {
    expect(decideChecks(look(seen, { before: told(2, { other: 2 }) })).type).toBe("feed-back");
    expect(decideChecks(look(seen, { before: told(3, { other: 3 }) })).type).toBe("failed");
  });
  test("not again, where the agent has changed nothing", () => {
    expect(decideChecks(look(seen, { before: told(1, { e2e: 1 }, HEAD) })).type).toBe("failed");
    expect(decideChecks(look([check("e2e", "success")], { before: told(1, { e2e: 1 }, HEAD) })).type).toBe("passed");
  });
  test("is counted by name, once for each round", () => {
    const twice = [check("e2e", "failure"), check("e2e", "failure", { suite: 2 }), check("toString", "error")];
    expect(soFarWith(told(2, { unit: 1, e2e: 1 }), HEAD, twice)).toEqual({
      commit: HEAD,
      rounds: 3,
      fedBack: { unit: 1, e2e: 2, toString: 1 },
    });
    expect(soFarWith(null, HEAD, [])).toEqual({ commit: HEAD, rounds: 1, fedBack: {} });
  });
});

describe("what is told", () => {
  const unit = check("unit", "failure", { id: 7 });
  const where = { commit: HEAD, before: null };
  test("of each end", () => {
    const shown = [{ name: "unit", conclusion: "failure", url: "https://ci.example/unit" }];
    expect(checksFinished({ type: "feed-back", checks: [unit] }, where)).toEqual({
      commit: HEAD,
      outcome: "fed-back",
      rounds: 1,
      checks: shown,
      message: "The agent is told of checks of the commit aaaaaaaaaa that did not succeed: unit (failure, https://ci.example/unit).",
    });
    expect(checksFinished({ type: "passed", checks: [unit] }, { ...where, before: told(2, {}) })).toMatchObject({
      outcome: "passed",
      rounds: 2,
      message: "1 check of the commit aaaaaaaaaa succeeded.",
    });
    expect(checksFinished({ type: "passed", checks: [unit, unit] }, where).message).toContain("2 checks of");
    expect(checksFinished({ type: "none" }, where)).toMatchObject({ outcome: "none", checks: [] });
    expect(checksFinished({ type: "gave-up", checks: [unit] }, where).message).toMatch(/some have not ended: unit/);
    expect(checksFinished({ type: "passed", checks: Array.from({ length: 120 }, () => unit) }, where).checks).toHaveLength(100);
  });
  test("the error names what failed, where one reads about it, and what the agent was told", () => {
    const failed = (before: ChecksSoFar | null) =>
      checksError(checksFinished({ type: "failed", checks: [unit] }, { commit: HEAD, before }));
    expect(failed(told(3, {}))).toEqual({
      type: "test-failure",
      message:
        "Checks of the published commit aaaaaaaaaa did not succeed: unit (failure, https://ci.example/unit). The agent was told of failures 3 times. What was published stays as it is; go on with `runyard continue`.",
    });
    expect(failed(told(1, {}, HEAD)).message).toContain("told of failures once, and has changed nothing since.");
    expect(failed(null).message).toContain("They did not go back to the agent.");
  });
  test("names ten at most, on one line", () => {
    const many = Array.from({ length: 12 }, (_, at) => check(`c\n\u001b${at}`, "error", { url: null }));
    expect(namesOf(many)).toMatch(/^c 0 \(error\); c 1 \(error\);.*; c 9 \(error\); and 2 more$/);
  });
});

const anyCheck = fc.record({
  id: fc.nat(50),
  name: fc.constantFrom("unit", "e2e", "lint"),
  conclusion: fc.constantFrom(...CHECK_CONCLUSIONS),
  url: fc.constant(null),
  suite: fc.constantFrom(null, 1, 2),
  commit: fc.constantFrom(HEAD, "b".repeat(40)),
});
const anyLook = fc.record({
  settings: fc.record({
    watch: fc.constant(true),
    retries: fc.nat(3),
    retriesByCheck: fc.dictionary(fc.constantFrom("unit", "e2e"), fc.nat(4)),
    ignored: fc.subarray(["lint", "u*"]),
    prompts: fc.constant({}),
    timeout: fc.constant(60_000),
  }),
  pace: fc.constant(pace),
  commit: fc.constant(HEAD),
  seen: fc.array(anyCheck, { maxLength: 8 }),
  before: fc.option(
    fc.record({
      commit: fc.constantFrom(HEAD, "b"),
      rounds: fc.nat(5),
      fedBack: fc.dictionary(fc.constantFrom("unit", "lint"), fc.nat(4)),
    }),
  ),
  ageMs: fc.nat(70_000),
  looks: fc.nat(30),
  picture: fc.constant(null),
});

test("a run passes only where every newest check did, and always comes to an end", () => {
  fc.assert(
    fc.property(anyLook, (first) => {
      const decided = decideChecks(look(first.seen, first));
      if (decided.type === "passed")
        expect(decided.checks.every(({ conclusion }) => /success|neutral|skipped/.test(conclusion))).toBe(true);
      if (first.ageMs >= first.settings.timeout) expect(decided.type).not.toBe("wait");
      if (decided.type === "wait") expect(first.ageMs + decided.delayMs).toBeLessThanOrEqual(first.settings.timeout + 1);
      // What is not of this commit changes nothing.
      const ours = first.seen.filter(({ commit }) => commit === HEAD);
      expect(decideChecks(look(ours, first))).toEqual(decided);
    }),
  );
});

test("nothing goes back more often than it may, however the checks behave", () => {
  fc.assert(
    fc.property(anyLook, fc.array(fc.array(anyCheck, { maxLength: 6 }), { minLength: 20, maxLength: 20 }), (first, later) => {
      const { retries, retriesByCheck } = first.settings;
      const end = later.reduce((before: ChecksSoFar | null, seen) => {
        const decided = decideChecks(look(seen, { ...first, before, ageMs: 60_000 }));
        // Each time the agent has made another commit.
        return decided.type === "feed-back" ? soFarWith(before, "another", decided.checks) : before;
      }, null);
      expect(end?.rounds ?? 0).toBeLessThanOrEqual(Math.max(retries, ...Object.values(retriesByCheck)));
      for (const [name, times] of Object.entries(end?.fedBack ?? {})) expect(times).toBeLessThanOrEqual(retriesByCheck[name] ?? retries);
    }),
  );
});
