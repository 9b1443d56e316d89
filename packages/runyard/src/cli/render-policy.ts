import { type PermissionPolicy, type PermissionRule, ruleWords } from "@runyard/sdk/contract";
import { oneLine, type Paint } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** Longest rule that is shown, in characters. */
const RULE_CHARS = 300;

/** A run's permission policy, rule by rule in the order in which they are tried. */
export function renderPolicy(policy: PermissionPolicy, paint: Paint, width: number): string {
  const rules = (policy.rules ?? listRules(policy)).map((rule) => describeRule(rule, paint));
  const byDefault = policy.default ?? "allow";
  const lines = [...rules, rules.length === 0 ? `${byDefault} whatever the agent asks` : `${byDefault} everything else`];
  const heading = (index: number): string => `  ${paint("dim", (index === 0 ? "policy" : "").padEnd(7))} `;
  return lines.map((line, index) => wrapBehind(heading(index), line, width)).join("\n");
}

function describeRule(rule: PermissionRule, paint: Paint): string {
  const words = ruleWords(rule);
  const name = rule.name === undefined || words.startsWith(rule.name) ? "" : paint("dim", `  (${oneLine(rule.name)})`);
  return `${oneLine(words, RULE_CHARS)}${name}`;
}

/** The lists of kinds as rules: for a server without rules, and for a policy as it was asked for. */
export function listRules({ ask, deny }: PermissionPolicy): PermissionRule[] {
  const lists: PermissionRule[] = [
    { decision: "deny", kinds: deny },
    { decision: "ask", kinds: ask },
  ];
  return lists.filter((rule) => rule.kinds?.length !== 0);
}
