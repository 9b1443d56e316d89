import type { Isolation, PermissionPolicy, ToolKind } from "@runyard/sdk/contract";

export type PermissionVerdict = "allow" | "deny" | "ask";

/** What the policy says to a tool call of this kind: a refusal beats a question, a question beats consent. */
export function decidePermission(policy: PermissionPolicy, kind: ToolKind): PermissionVerdict {
  if (policy.deny.includes(kind)) return "deny";
  return policy.ask.includes(kind) ? "ask" : "allow";
}

/** Kinds of tool call that can harm a machine on which nothing holds them back. */
const HARMFUL_KINDS: readonly ToolKind[] = ["edit", "delete", "move", "execute"];

/**
 * The policy of a run that names none. At or above the isolation floor (file system and network held
 * by the kernel) the sandbox is the guard and nothing is asked; below it a person decides.
 */
export function defaultPolicy(isolation: Isolation): PermissionPolicy {
  const aboveFloor = isolation.filesystem === "hard" && isolation.network === "hard";
  return { ask: aboveFloor ? [] : [...HARMFUL_KINDS], deny: [] };
}
