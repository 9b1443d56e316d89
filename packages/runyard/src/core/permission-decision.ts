import type { PermissionRule, PermissionVerdict, ToolKind } from "@runyard/sdk/contract";
import { allowsCommand, concernsCommand } from "./command-line.ts";
import type { NormalPolicy } from "./permission-policy.ts";
import { matchesPath } from "./workspace-path.ts";

/** A tool call that an agent asks permission for, as far as rules go by it. */
export interface AskedCall {
  readonly kind: ToolKind;
  /** As `placeInWorkspace` gives them. */
  readonly paths: readonly string[];
  readonly command: string | null;
  /** False where some of it was too long to be looked at: no rule with paths or commands allows such a call, and any other may mean it. */
  readonly isWhole: boolean;
}

export interface PolicyDecision {
  readonly verdict: PermissionVerdict;
  /** Name of the rule that decided, or `default`. */
  readonly rule: string;
}

const STRICTNESS: readonly PermissionVerdict[] = ["allow", "ask", "deny"];

/**
 * What the policy says to a call. Each of its paths is decided by itself, by the first rule that fits; the
 * strictest decision counts for the whole call.
 */
export function decidePermission(policy: NormalPolicy, call: AskedCall): PolicyDecision {
  const paths = call.paths.length === 0 ? [null] : call.paths;
  const decisions = paths.map((path) => decideOne(policy, call, path));
  return decisions.reduce((strictest, next) =>
    STRICTNESS.indexOf(next.verdict) > STRICTNESS.indexOf(strictest.verdict) ? next : strictest,
  );
}

function decideOne(policy: NormalPolicy, call: AskedCall, path: string | null): PolicyDecision {
  const rule = policy.rules.find((candidate) => fits(candidate, call, path));
  return rule === undefined ? { verdict: policy.default, rule: "default" } : { verdict: rule.decision, rule: rule.name };
}

function fits(rule: PermissionRule, call: AskedCall, path: string | null): boolean {
  if (rule.kinds !== undefined && !rule.kinds.includes(call.kind)) return false;
  if (rule.paths === undefined && rule.commands === undefined) return true;
  if (!call.isWhole) return rule.decision !== "allow";
  return rule.decision === "allow" ? allows(rule, call, path) : concerns(rule, call, path);
}

function allows(rule: PermissionRule, { kind, command }: AskedCall, path: string | null): boolean {
  if (rule.paths !== undefined && !(path !== null && rule.paths.some((pattern) => matchesPath(pattern, path)))) return false;
  // The paths that an agent names say nothing of what its command does.
  if (rule.commands === undefined) return command === null && kind !== "execute";
  return command !== null && rule.commands.some((pattern) => allowsCommand(pattern, command));
}

function concerns(rule: PermissionRule, { command }: AskedCall, path: string | null): boolean {
  if (rule.paths !== undefined && !(path !== null && rule.paths.some((pattern) => matchesPath(pattern, path)))) return false;
  return rule.commands === undefined || (command !== null && rule.commands.some((pattern) => concernsCommand(pattern, command)));
}
