import { z } from "zod";

/** Kinds of tool call, as ACP names them; a permission policy goes by these. */
export const TOOL_KINDS = ["read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", "other"] as const;
export type ToolKind = (typeof TOOL_KINDS)[number];
export const toolKindSchema = z.enum(TOOL_KINDS);

export const PERMISSION_VERDICTS = ["allow", "ask", "deny"] as const;
/** What happens when an agent asks: it may, a person decides, it may not. */
export type PermissionVerdict = (typeof PERMISSION_VERDICTS)[number];
const verdictSchema = z.enum(PERMISSION_VERDICTS);

/** Most rules of a policy, those that were added by answers included. */
export const MAX_RULES = 100;
/** Most paths, and most commands, of one rule. */
export const MAX_RULE_PATTERNS = 64;
/** Longest pattern, and longest sum of all patterns of a policy, in characters. */
export const MAX_PATTERN_CHARS = 2_000;
export const MAX_POLICY_PATTERN_CHARS = 4_000;
const MAX_RULE_NAME_CHARS = 100;

const noNul = (text: string): boolean => !text.includes("\0");
/** But for further repositories of a run, which lie beside its workspace and belong to it. */
const noParent = (pattern: string): boolean => !/(^|\/)\.\.(\/|$)/.test(pattern.replace(/^(?:\.\/+)*\.\.\/repositories(?=\/)/, ""));

const pathPatternSchema = z
  .string()
  .min(1)
  .max(MAX_PATTERN_CHARS)
  .refine(noNul, "must not contain NUL")
  .refine(
    noParent,
    "must not go up by `..`, but to `../repositories/`: a pattern that begins with `/` is for paths outside of the workspace",
  );
const commandPatternSchema = z.string().trim().min(1).max(MAX_PATTERN_CHARS).refine(noNul, "must not contain NUL");

/** One rule of a policy; what it does not name, it does not ask for. */
export const permissionRuleSchema = z.strictObject({
  decision: verdictSchema,
  /** Default: every kind. */
  kinds: z.array(toolKindSchema).min(1).max(TOOL_KINDS.length).optional(),
  /** Globs, relative to the workspace, or from `/` for what lies outside of it. */
  paths: z.array(pathPatternSchema).min(1).max(MAX_RULE_PATTERNS).optional(),
  /** Globs over a whole command line. */
  commands: z.array(commandPatternSchema).min(1).max(MAX_RULE_PATTERNS).optional(),
  /** What the log calls it; default: `rule` and its number. */
  name: z
    .string()
    .trim()
    .min(1)
    .max(MAX_RULE_NAME_CHARS)
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, "must be one line")
    .optional(),
});

/** A rule, as a run shows it: a newer server's may say more. */
export const permissionRuleViewSchema = z.object({
  decision: verdictSchema,
  kinds: z.array(toolKindSchema).optional(),
  paths: z.array(z.string()).optional(),
  commands: z.array(z.string()).optional(),
  name: z.string().optional(),
});
export type PermissionRule = z.infer<typeof permissionRuleViewSchema>;

/** A rule in words: `allow execute: npm test*`. */
export function ruleWords(rule: PermissionRule): string {
  const kinds = rule.kinds?.join(", ") ?? "all";
  const patterns = [rule.paths, rule.commands].flatMap((list) => (list === undefined ? [] : [list.join(", ")]));
  return `${rule.decision} ${kinds}${patterns.length === 0 ? "" : `: ${patterns.join(" and ")}`}`;
}

const kindListSchema = z.array(toolKindSchema).max(TOOL_KINDS.length);

/** A policy, as it is asked for. The first rule that fits decides; then the lists, deny before ask; then the default. */
export const permissionPolicyRequestSchema = z.strictObject({
  /** Kinds of tool call for which a person decides. */
  ask: kindListSchema.default([]),
  /** Kinds of tool call that are refused. */
  deny: kindListSchema.default([]),
  rules: z
    .array(permissionRuleSchema)
    .max(MAX_RULES)
    .refine(
      (rules) => patternChars(rules) <= MAX_POLICY_PATTERN_CHARS,
      `must not have more than ${MAX_POLICY_PATTERN_CHARS} characters of patterns`,
    )
    .default([]),
  /**
   * What happens where nothing above fits. Default: `allow`; and for a policy with rules, in a sandbox that does not
   * isolate, what a run without a policy would get.
   */
  default: verdictSchema.optional(),
});
export type PermissionPolicyRequest = z.input<typeof permissionPolicyRequestSchema>;

/** Characters of all patterns of some rules: what matching them costs goes by it. */
export function patternChars(rules: readonly Pick<PermissionRule, "paths" | "commands">[]): number {
  return rules.flatMap((rule) => [...(rule.paths ?? []), ...(rule.commands ?? [])]).reduce((sum, pattern) => sum + pattern.length, 0);
}

/**
 * A policy, as a run shows it: `rules` and `default` say all of it. `ask` and `deny` sum it up by kind: what
 * happens to a call of that kind that no rule with paths or commands fits.
 */
export const permissionPolicySchema = z.object({
  ask: z.array(toolKindSchema).default([]),
  deny: z.array(toolKindSchema).default([]),
  /** Missing in events and runs of versions without rules. */
  rules: z.array(permissionRuleViewSchema).optional(),
  default: verdictSchema.optional(),
});
export type PermissionPolicy = z.infer<typeof permissionPolicySchema>;
