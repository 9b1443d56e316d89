import { RUN_PERMISSIONS, runPermissionsSchema } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { decidePermission } from "./permission-decision.ts";
import { normalizePolicy } from "./permission-policy.ts";
import { grantedPermissions, policyWithin, whyNotKept } from "./run-permissions.ts";

const HELD = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
const LOOSE = { filesystem: "none", network: "none", processes: "none", syscalls: "none" } as const;

test("a group of which nothing is named is granted whole", () => {
  expect(grantedPermissions()).toEqual(RUN_PERMISSIONS);
  expect(grantedPermissions(["write", "read"])).toEqual(["read", "write", ...RUN_PERMISSIONS.slice(3)]);
  expect(grantedPermissions(["repository:read"])).toEqual(["read", "write", "execute", "repository:read"]);
  expect(grantedPermissions(["read", "pull_request:create"])).toEqual(["read", "pull_request:create"]);
  for (const permission of RUN_PERMISSIONS) {
    const once = grantedPermissions([permission]);
    expect(grantedPermissions(once)).toEqual(once);
  }
});

test.each([
  [[], "left out, everything is"],
  [["write", "execute"], "may not `read`"],
  [["admin"], "Invalid option"],
])("%j is refused", (asked, reason) => {
  const { error } = runPermissionsSchema.safeParse(asked);
  expect(error?.issues[0]?.message).toContain(reason);
});

test("what is not granted nothing allows", () => {
  const policy = normalizePolicy({ rules: [{ decision: "allow", kinds: ["execute", "edit", "move", "delete"] }] });
  const verdict = (granted: Parameters<typeof policyWithin>[0], kind: "execute" | "edit" | "move" | "delete" | "read") => {
    const { verdict: said, rule } = decidePermission(policyWithin(granted, policy), { kind, paths: [], command: null, isWhole: true });
    return said === "deny" ? rule : said;
  };
  expect(policyWithin(grantedPermissions(), policy)).toEqual(policy);
  const readOnly = grantedPermissions(["read"]);
  expect((["execute", "edit", "move", "delete", "read"] as const).map((kind) => verdict(readOnly, kind))).toEqual([
    "no permission to execute",
    "no permission to write",
    "no permission to write",
    "no permission to write",
    "allow",
  ]);
  expect(verdict(grantedPermissions(["read", "write"]), "edit")).toBe("allow");
});

test("what nothing keeps is refused", () => {
  expect(whyNotKept(["read"], LOOSE)).toContain("needs the sandbox driver bwrap");
  expect([whyNotKept(["read"], HELD), whyNotKept(["read", "write"], LOOSE)]).toEqual([null, null]);
});
