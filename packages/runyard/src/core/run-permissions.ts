import { type Isolation, REPOSITORY_PERMISSIONS, type RunPermission, type ToolKind, WORKSPACE_PERMISSIONS } from "@runyard/sdk/contract";
import { type NormalPolicy, withRuleInFront } from "./permission-policy.ts";

/** What is granted by what a request names, with nothing left to be understood: a group of which it names nothing is granted whole. */
export function grantedPermissions(asked: readonly RunPermission[] = []): RunPermission[] {
  return [WORKSPACE_PERMISSIONS, REPOSITORY_PERMISSIONS].flatMap((group: readonly RunPermission[]) => {
    const named = group.filter((permission) => asked.includes(permission));
    return named.length === 0 ? group : named;
  });
}

/** Kinds of tool call that a permission stands for. */
const KINDS: readonly (readonly [permission: RunPermission, kinds: readonly ToolKind[]])[] = [
  ["execute", ["execute"]],
  ["write", ["edit", "delete", "move"]],
];

/** The policy with what is not granted refused, in front of all other rules: no rule and no person can allow it. */
export function policyWithin(granted: readonly RunPermission[], policy: NormalPolicy): NormalPolicy {
  return KINDS.filter(([permission]) => !granted.includes(permission)).reduce(
    (before, [permission, kinds]) =>
      withRuleInFront(before, { decision: "deny", kinds: [...kinds], name: `no permission to ${permission}` }),
    policy,
  );
}

/** Why a sandbox cannot keep a run to what it is granted, or null. */
export function whyNotKept(granted: readonly RunPermission[], isolation: Isolation): string | null {
  if (granted.includes("write") || isolation.filesystem === "hard") return null;
  return "Without isolation nothing keeps an agent from writing: a run without the permission `write` needs the sandbox driver bwrap.";
}
