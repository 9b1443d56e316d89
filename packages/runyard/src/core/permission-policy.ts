import {
  type Isolation,
  MAX_PATTERN_CHARS,
  MAX_POLICY_PATTERN_CHARS,
  MAX_RULES,
  patternChars,
  type PermissionPolicy,
  type PermissionRule,
  type PermissionVerdict,
  TOOL_KINDS,
  type ToolKind,
} from "@runyard/sdk/contract";
import { escapeGlob } from "./glob.ts";
import type { AskedCall } from "./permission-decision.ts";

/** A rule with a name, as every stored one is. */
export interface NormalRule extends PermissionRule {
  readonly name: string;
}

/** A policy of which `rules` and `default` say everything; `ask` and `deny` sum it up by kind. */
export interface NormalPolicy extends PermissionPolicy {
  readonly rules: NormalRule[];
  readonly default: PermissionVerdict;
}

/** Kinds of tool call that can harm a machine on which nothing holds them back. */
const HARMFUL_KINDS: readonly ToolKind[] = ["edit", "delete", "move", "execute"];

/**
 * The policy of a run that names none. At or above the isolation floor (file system and network held
 * by the kernel) the sandbox is the guard and nothing is asked; below it a person decides.
 */
export function defaultPolicy(isolation: Isolation): NormalPolicy {
  return normalizePolicy({ ask: askedByDefault(isolation) });
}

/**
 * A policy in its stored form: every rule has a name, lists of kinds have become rules behind the others, and there
 * is a default. Done again, it changes nothing. `isolation` is what the sandbox holds: where that is too little, a
 * policy whose rules say nothing of a call does not allow what a run without a policy would ask about.
 */
export function normalizePolicy(policy: Partial<PermissionPolicy>, isolation?: Isolation): NormalPolicy {
  const rules = (policy.rules ?? []).map((rule, index) => normalizeRule(rule, `rule ${index + 1}`));
  const isSilent = policy.default === undefined && rules.length > 0 && isolation !== undefined;
  const { ask = [], deny = [] } = policy;
  if (policy.default !== "deny") addKinds(rules, { decision: "deny", kinds: deny, name: "deny" });
  if (policy.default !== "ask") addKinds(rules, { decision: "ask", kinds: ask.filter((kind) => !deny.includes(kind)), name: "ask" });
  if (isSilent) addKinds(rules, { decision: "ask", kinds: askedByDefault(isolation), name: "no isolation" });
  return summed(rules, policy.default ?? "allow");
}

/** The policy with a rule in front of all others. */
export function withRuleInFront(policy: NormalPolicy, rule: NormalRule): NormalPolicy {
  return summed([rule, ...policy.rules], policy.default);
}

/**
 * The rule that decides every call like this one: of its kind, with exactly its command, or with no path but its
 * own. Undefined where nothing of the call can be gone by.
 */
export function ruleForCallsLike(call: AskedCall, decision: "allow" | "deny", name: string): NormalRule | undefined {
  if (!call.isWhole || (call.command === null && call.paths.length === 0)) return undefined;
  const exact =
    call.command === null ? { paths: call.paths.map((path) => escapeGlob(path)) } : { commands: [escapeGlob(call.command.trim())] };
  const isTooLong = [...(exact.paths ?? []), ...(exact.commands ?? [])].some(
    (pattern) => pattern.length > MAX_PATTERN_CHARS || pattern === "",
  );
  return isTooLong ? undefined : { decision, kinds: [call.kind], ...exact, name };
}

/** True while a policy may take one more rule. */
export function hasRoomFor(policy: NormalPolicy, rule: NormalRule): boolean {
  return policy.rules.length < MAX_RULES && patternChars([rule, ...policy.rules]) <= MAX_POLICY_PATTERN_CHARS;
}

function askedByDefault(isolation: Isolation): ToolKind[] {
  const isAboveFloor = isolation.filesystem === "hard" && isolation.network === "hard";
  return isAboveFloor ? [] : [...HARMFUL_KINDS];
}

function normalizeRule(rule: PermissionRule, name: string): NormalRule {
  return {
    decision: rule.decision,
    ...(rule.kinds !== undefined && { kinds: sortKinds(rule.kinds) }),
    ...(rule.paths !== undefined && { paths: [...new Set(rule.paths.map(normalizePathPattern))] }),
    ...(rule.commands !== undefined && { commands: [...new Set(rule.commands)] }),
    name: rule.name ?? name,
  };
}

/** `./a` is `a`; `a/` is the folder and all below it. */
function normalizePathPattern(pattern: string): string {
  return pattern.replace(/^(\.\/+)+/, "").replace(/(?<=[^/])\/+$/, "/**") || "**";
}

/** Appends a rule for those kinds that nothing in front of it decides, if there are any. */
function addKinds(rules: NormalRule[], list: NormalRule & { readonly kinds: readonly ToolKind[] }): void {
  const kinds = sortKinds(list.kinds).filter((kind) => ruleForKind(rules, kind) === undefined);
  if (kinds.length > 0) rules.push({ ...list, kinds });
}

function summed(rules: NormalRule[], byDefault: PermissionVerdict): NormalPolicy {
  const kindsWith = (verdict: PermissionVerdict): ToolKind[] =>
    TOOL_KINDS.filter((kind) => (ruleForKind(rules, kind)?.decision ?? byDefault) === verdict);
  return { ask: kindsWith("ask"), deny: kindsWith("deny"), rules, default: byDefault };
}

/** The first rule that goes by the kind alone. */
function ruleForKind(rules: readonly NormalRule[], kind: ToolKind): NormalRule | undefined {
  return rules.find((rule) => rule.paths === undefined && rule.commands === undefined && (rule.kinds?.includes(kind) ?? true));
}

function sortKinds(kinds: readonly ToolKind[]): ToolKind[] {
  return TOOL_KINDS.filter((kind) => kinds.includes(kind));
}
