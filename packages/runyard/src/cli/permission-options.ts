import {
  type PermissionPolicyRequest,
  type PermissionRule,
  type PermissionVerdict,
  permissionRuleSchema,
  ruleWords,
  TOOL_KINDS,
  type ToolKind,
} from "@runyard/sdk/contract";
import { InvalidArgumentError, Option } from "commander";

/** The options of `run` that make its permission policy. Their order on the command line counts, across all three. */
export interface PermissionOptions {
  readonly allow: Option;
  readonly ask: Option;
  readonly deny: Option;
  /** What they say together; undefined where none was given. */
  policy(): PermissionPolicyRequest | undefined;
}

export function permissionOptions(): PermissionOptions {
  const rules: PermissionRule[] = [];
  const option = (decision: PermissionVerdict, description: string): Option =>
    new Option(`--${decision} <kinds[:pattern]>`, description).argParser((value: string) => rules.push(parseRule(decision, value)));
  return {
    allow: option("allow", "allow these kinds of tool call, or those of them that fit a pattern: 'execute:npm test*'"),
    ask: option("ask", `ask a person first, for these kinds of tool call: ${TOOL_KINDS.join(",")}; with a pattern: 'edit:src/**'`),
    deny: option("deny", "refuse these kinds of tool call, or those that fit a pattern: 'execute:git push*'"),
    policy: () => (rules.length === 0 ? undefined : policyOf(rules)),
  };
}

/** Kinds alone, asked about or refused, are the lists that they always were: a refusal counts wherever it stands. */
function policyOf(rules: readonly PermissionRule[]): PermissionPolicyRequest {
  if (rules.some((rule) => rule.decision === "allow" || rule.paths !== undefined || rule.commands !== undefined))
    return { rules: [...rules] };
  const kindsOf = (decision: PermissionVerdict): ToolKind[] =>
    TOOL_KINDS.filter((kind) => rules.some((rule) => rule.decision === decision && (rule.kinds ?? TOOL_KINDS).includes(kind)));
  return { ask: kindsOf("ask"), deny: kindsOf("deny") };
}

/** `execute`, `edit,delete:src/**`, `execute:npm test*`, `all`. */
function parseRule(decision: PermissionVerdict, value: string): PermissionRule {
  const colon = value.indexOf(":");
  const kinds = parseKinds(colon < 0 ? value : value.slice(0, colon));
  const rule = { decision, ...(kinds !== null && { kinds }), ...(colon >= 0 && patternOf(kinds, value.slice(colon + 1).trim())) };
  const checked = permissionRuleSchema.safeParse(rule);
  if (!checked.success) throw new InvalidArgumentError(`The pattern ${checked.error.issues[0]?.message ?? "cannot be used"}.`);
  // The log then says what was typed; words that are no name are left to the server to number.
  const named = permissionRuleSchema.safeParse({ ...rule, name: ruleWords(rule) });
  return named.success ? named.data : checked.data;
}

function patternOf(kinds: readonly ToolKind[] | null, pattern: string): Pick<PermissionRule, "paths" | "commands"> {
  if (pattern === "") throw new InvalidArgumentError("A pattern must follow the colon.");
  if (kinds?.every((kind) => kind === "execute") === true) return { commands: [pattern] };
  if (kinds !== null && !kinds.includes("execute")) return { paths: [pattern] };
  throw new InvalidArgumentError("A pattern is a command for execute and a path for other kinds: give execute an option of its own.");
}

/** Null for every kind. */
function parseKinds(value: string): ToolKind[] | null {
  if (value.trim() === "all") return null;
  const kinds = value.split(",").map((kind) => kind.trim());
  for (const kind of kinds) {
    if (!(TOOL_KINDS as readonly string[]).includes(kind))
      throw new InvalidArgumentError(`"${kind}" is no kind of tool call. Kinds: ${TOOL_KINDS.join(", ")}, or all.`);
  }
  return kinds as ToolKind[];
}
