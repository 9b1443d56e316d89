import { z } from "zod";
import { IN_MILLISECONDS } from "./milliseconds.ts";

/** Longest plan, feedback and reason, in characters. */
export const MAX_PLAN_CHARS = 65_536;
const MAX_WORDS_CHARS = 20_000;
/** Longest time that a plan may wait for a decision before the policy decides, in milliseconds: a year. */
export const MAX_PLAN_TIMEOUT_MS = 365 * 24 * 3_600_000;

/** PostgreSQL's text holds no NUL. */
const text = (max: number) =>
  z
    .string()
    .trim()
    .min(1, "must not be empty")
    .max(max)
    .refine((words) => !words.includes("\0"), "must not contain NUL");

/** What happens to a plan that nobody has decided about in time. */
export const PLAN_TIMEOUT_ACTIONS = ["reject", "approve"] as const;
export type PlanTimeoutAction = (typeof PLAN_TIMEOUT_ACTIONS)[number];

/** The part of `settings` that is about plans; only for runs that make one. */
export const planSettings = {
  /** Whether a plan phase that wrote into its workspace ends the run with `policy-violation`; else what it wrote is dropped with a notice. */
  strictPlan: z.boolean().optional(),
  /** How long a plan waits for a decision, in milliseconds; left out: for ever. 0: the policy decides at once. */
  planTimeout: z.int().min(0).max(MAX_PLAN_TIMEOUT_MS).optional().describe(IN_MILLISECONDS),
  /** What happens then; default `reject`. */
  onPlanTimeout: z.enum(PLAN_TIMEOUT_ACTIONS).optional(),
};

/** The same settings of a run that exists, with every default filled in. */
export const planSettingsShown = {
  strictPlan: z.boolean(),
  planTimeout: z.number().int().nullable().describe(IN_MILLISECONDS),
  onPlanTimeout: z.enum(PLAN_TIMEOUT_ACTIONS),
};

const version = z.int().min(1).optional();

/** Body of `POST /v1/agent-runs/{id}/plan/confirm` (seed 001). */
export const confirmPlanSchema = z.strictObject({
  /** The version that is meant; another one in the meantime is a conflict. Left out: the present one. */
  version,
  /** The plan as it is to be carried out, where a person has changed it. */
  text: text(MAX_PLAN_CHARS).optional(),
});
export type ConfirmPlanRequest = z.input<typeof confirmPlanSchema>;

/** Body of `POST /v1/agent-runs/{id}/plan/reject`. */
export const rejectPlanSchema = z.strictObject({ version, reason: text(MAX_WORDS_CHARS).optional() });
export type RejectPlanRequest = z.input<typeof rejectPlanSchema>;

/** Body of `POST /v1/agent-runs/{id}/plan/revise`. */
export const revisePlanSchema = z.strictObject({ version, feedback: text(MAX_WORDS_CHARS) });
export type RevisePlanRequest = z.input<typeof revisePlanSchema>;

/** Where the text of a plan comes from: a tool for handing it in, the list of the agent's steps, its last message, or a person who edited it. */
export const PLAN_SOURCES = ["tool", "steps", "message", "person"] as const;
export type PlanSource = (typeof PLAN_SOURCES)[number];

/** `edited`: a person replaced it by the version that was approved. `withdrawn`: the run ended first. */
export const PLAN_STATES = ["proposed", "approved", "edited", "revised", "rejected", "withdrawn"] as const;
export type PlanState = (typeof PLAN_STATES)[number];

/** Who decided about a plan. */
export const planDeciderSchema = z.object({
  by: z.enum(["person", "policy"]),
  /** Of a person. */
  userId: z.string().optional(),
  userName: z.string().optional(),
});
export type PlanDecider = z.infer<typeof planDeciderSchema>;

const planHead = {
  /** 1 for the first plan of the run, one more for each that comes after it. */
  version: z.number().int(),
  turn: z.number().int(),
  state: z.enum(PLAN_STATES),
  source: z.enum(PLAN_SOURCES),
  /** SHA-256 of the text in UTF-8, as hex. */
  hash: z.string(),
  proposedAt: z.iso.datetime(),
  decidedAt: z.iso.datetime().nullable(),
  decidedBy: planDeciderSchema.nullable(),
  /** The feedback of a revision, the reason of a rejection. */
  note: z.string().nullable(),
};

/** One version of a run's plan. */
export const planSchema = z.object({ ...planHead, text: z.string() });
export type Plan = z.infer<typeof planSchema>;

/** What a run's document shows of its newest plan: everything but the text. */
export const planSummarySchema = z.object({
  ...planHead,
  /** When the policy decides, where nobody has by then. */
  dueAt: z.iso.datetime().nullable(),
});
export type PlanSummary = z.infer<typeof planSummarySchema>;

/** Answer of `GET /v1/agent-runs/{id}/plan`: every version, the oldest first. */
export const planListSchema = z.object({ data: z.array(planSchema) });
export type PlanList = z.infer<typeof planListSchema>;

/** `data` of the events that tell of plans. */
export const planEventSchemas = {
  /** The turn stops here until somebody decides. */
  "plan.proposed": z.object({
    version: z.number().int(),
    text: z.string(),
    hash: z.string(),
    source: z.enum(PLAN_SOURCES),
    dueAt: z.iso.datetime().nullable(),
  }),
  /** A person's own wording took the place of version `replaces`. */
  "plan.edited": z.object({
    version: z.number().int(),
    replaces: z.number().int(),
    text: z.string(),
    hash: z.string(),
    ...planDeciderSchema.shape,
  }),
  /** From here on the agent may change things; `hash` is that of the plan it was given. */
  "plan.approved": z.object({ version: z.number().int(), hash: z.string(), ...planDeciderSchema.shape }),
  /** The agent plans again. */
  "plan.revised": z.object({ version: z.number().int(), feedback: z.string(), ...planDeciderSchema.shape }),
  "plan.rejected": z.object({ version: z.number().int(), reason: z.string(), ...planDeciderSchema.shape }),
};
