import type { EventData, Isolation, PlanSource, PlanTimeoutAction, ToolKind } from "@runyard/sdk/contract";
import { MAX_PLAN_CHARS } from "@runyard/sdk/contract";
import { type NormalPolicy, withRuleInFront } from "./permission-policy.ts";

/** How a run's plans are made and decided, with every default filled in. */
export interface PlanSettings {
  /** Whether turns make a plan first, unless one says otherwise. */
  readonly wanted: boolean;
  readonly strict: boolean;
  /** How long a plan waits for a decision, in milliseconds; null: for ever. */
  readonly timeoutMs: number | null;
  readonly onTimeout: PlanTimeoutAction;
  /** What every plan of the repository goes by; null: nothing. */
  readonly statement: string | null;
}

/** Where nothing is said about plans. */
export const NO_PLAN: PlanSettings = { wanted: false, strict: false, timeoutMs: null, onTimeout: "reject", statement: null };

/** What a request says of it. */
export interface PlanWishes {
  readonly plan?: boolean | undefined;
  readonly strictPlan?: boolean | undefined;
  readonly planTimeout?: number | undefined;
  readonly onPlanTimeout?: PlanTimeoutAction | undefined;
}

/** What the organization and the repository say of it; null: nothing. */
export interface PlanDefaults {
  readonly organizationPlans: boolean;
  readonly repositoryPlans: boolean | null;
  readonly statement: string | null;
  readonly autoConfirm: boolean;
}

/** The request first, then the repository, then the organization. A plan that is confirmed by itself waits for nobody, unless the request says how long it waits. */
export function planSettingsOf(wishes: PlanWishes, defaults: PlanDefaults): PlanSettings {
  const auto = defaults.autoConfirm && wishes.planTimeout === undefined && wishes.onPlanTimeout === undefined;
  return {
    wanted: wishes.plan ?? defaults.repositoryPlans ?? defaults.organizationPlans,
    strict: wishes.strictPlan ?? false,
    timeoutMs: auto ? 0 : (wishes.planTimeout ?? null),
    onTimeout: auto ? "approve" : (wishes.onPlanTimeout ?? "reject"),
    statement: defaults.statement,
  };
}

/** Kinds of tool call that a plan phase has no use for. */
const MUTATING_KINDS: readonly ToolKind[] = ["edit", "delete", "move", "switch_mode"];

/**
 * The policy of a plan phase: whatever changes files is refused, in front of every other rule. Commands are
 * held back by the throw-away workspace; where no sandbox holds them in it, they are refused too.
 */
export function planningPolicy(policy: NormalPolicy, isolation: Isolation | null): NormalPolicy {
  const isHeld = isolation?.filesystem === "hard";
  const kinds: ToolKind[] = isHeld ? [...MUTATING_KINDS] : [...MUTATING_KINDS, "execute"];
  return withRuleInFront(policy, { decision: "deny", kinds, name: "plan phase" });
}

/** What the prompts of a plan phase have, one or the other, and no other prompt of Runyard's: the scripted model knows them by it. */
export const PLANNING_WORDS = ["Do not carry this out yet: first make a plan for it.", "Still nothing may be changed."] as const;
const [PLAN_FIRST, PLAN_AGAIN] = PLANNING_WORDS;

/** What an agent is asked in a plan phase: the task, and to plan it. */
export function planningPrompt(task: string, statement: string | null): string {
  return [
    task,
    "---",
    `${PLAN_FIRST} Look at whatever you need, and then hand in the plan: with a tool for that if you have one, else as your last message, with nothing around it. Write Markdown: what you will change and where, in which order, how you will check it, and what is uncertain. A person decides about the plan before anything is changed. Until then edits are refused, and you work in a copy that is thrown away.`,
    ...(statement === null ? [] : [`What plans must respect in this repository:\n${statement}`]),
  ].join("\n\n");
}

/** What the agent is asked when a person sends its plan back. */
export function revisionPrompt(version: number, feedback: string): string {
  return `Your plan (version ${version}) came back with this feedback:\n\n${feedback}\n\nMake a new plan that respects it, and hand in the whole of it in the same way as before. ${PLAN_AGAIN}`;
}

/** What an agent is told in a plan phase beside the answers that it waited for. */
export function stillPlanning(answers: string): string {
  return `${answers}\n\nYou are still to make the plan: hand in the whole of it, with these answers in mind. ${PLAN_AGAIN}`;
}

/** What the agent is asked once its plan is approved. The text is part of it: a person may have changed it, and the agent may have forgotten it. */
export function buildingPrompt(approved: { readonly text: string; readonly isEdited: boolean }): string {
  const whose = approved.isEdited ? "A person has changed your plan and approved it in these words" : "Your plan is approved";
  return `${whose}. Carry it out now; files may be changed from here on. You are in a fresh workspace: nothing that you wrote while you planned is there.\n\nThe plan:\n\n${approved.text}`;
}

/** What a plan phase left, in which the plan may be. */
export interface PlanMaterial {
  /** What the agent handed in with a tool. */
  readonly handedIn: string | null;
  readonly steps: EventData<"plan.updated">["entries"];
  readonly lastText: string | null;
}

/**
 * The plan: what was handed in with a tool, else the agent's list of steps if none of them was begun (else the
 * list is of the planning itself), with the last message before it, else the last message. Null: there is none.
 */
export function findPlan({ handedIn, steps, lastText }: PlanMaterial): { readonly text: string; readonly source: PlanSource } | null {
  const isProposal = steps.length > 0 && steps.every((step) => step.status === "pending");
  const list = steps.map((step) => `- ${step.content}`).join("\n");
  const found: readonly (readonly [PlanSource, string])[] = [
    ["tool", handedIn ?? ""],
    ["steps", isProposal ? `${lastText ?? ""}\n\n${list}` : ""],
    ["message", lastText ?? ""],
  ];
  for (const [source, text] of found) {
    const plain = storable(text);
    if (plain !== "") return { text: plain, source };
  }
  return null;
}

/** Text that PostgreSQL and UTF-8 take as it is, so that its hash is that of what is stored; cut where it is too long. */
function storable(text: string): string {
  const plain = text
    .replaceAll("\0", "\u{FFFD}")
    .replaceAll(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\u{FFFD}")
    .trim();
  return plain.length <= MAX_PLAN_CHARS ? plain : `${plain.slice(0, MAX_PLAN_CHARS - CUT.length).replace(/[\uD800-\uDBFF]$/, "")}${CUT}`;
}
const CUT = "\n\n(The plan is longer than Runyard keeps; its end was cut off.)";
