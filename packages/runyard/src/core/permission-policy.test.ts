import { TOOL_KINDS, type Isolation } from "@runyard/sdk/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decidePermission, defaultPolicy } from "./permission-policy.ts";

const kinds = fc.subarray([...TOOL_KINDS]);

describe("decidePermission", () => {
  it("puts deny before ask before allow, for every policy and kind", () => {
    fc.assert(
      fc.property(kinds, kinds, fc.constantFrom(...TOOL_KINDS), (ask, deny, kind) => {
        const expected = deny.includes(kind) ? "deny" : ask.includes(kind) ? "ask" : "allow";
        expect(decidePermission({ ask, deny }, kind)).toBe(expected);
      }),
    );
  });

  it("refuses a kind that stands in both lists", () => {
    expect(decidePermission({ ask: ["execute"], deny: ["execute"] }, "execute")).toBe("deny");
  });
});

describe("defaultPolicy", () => {
  const isolation = (filesystem: Isolation["filesystem"], network: Isolation["network"]): Isolation => ({
    filesystem,
    network,
    processes: "none",
  });

  it("asks nothing inside a sandbox that holds the file system and the network", () => {
    const policy = defaultPolicy(isolation("hard", "hard"));
    expect(TOOL_KINDS.map((kind) => decidePermission(policy, kind))).toEqual(TOOL_KINDS.map(() => "allow"));
  });

  it.each([isolation("none", "none"), isolation("hard", "none"), isolation("none", "hard")])(
    "asks before harm below the floor: %o",
    (weak) => {
      const policy = defaultPolicy(weak);
      const asked = TOOL_KINDS.filter((kind) => decidePermission(policy, kind) === "ask");
      expect(asked).toEqual(["edit", "delete", "move", "execute"]);
      expect(policy.deny).toEqual([]);
    },
  );
});
