import { z } from "zod";
import { IN_MILLISECONDS } from "./milliseconds.ts";
import { isOneLine } from "./one-line.ts";

/** How often failed checks go back to the agent, where nothing else is said. */
export const DEFAULT_CHECK_RETRIES = 3;
export const MAX_CHECK_RETRIES = 10;
/** Default and longest time that the checks of one commit are waited for, in milliseconds. */
export const DEFAULT_CHECKS_TIMEOUT_MS = 3_600_000;
export const MAX_CHECKS_TIMEOUT_MS = 24 * 3_600_000;
const MIN_CHECKS_TIMEOUT_MS = 60_000;
const MAX_NAMES = 100;

/** The name of a check run or the context of a commit status, as GitHub shows it. */
const nameSchema = z.string().min(1, "must not be empty").max(255).refine(isOneLine, "must be one line");
const retriesSchema = z
  .int("must be a whole number")
  .min(0, "must not be below 0")
  .max(MAX_CHECK_RETRIES, `must be at most ${MAX_CHECK_RETRIES}`);

function byName<T extends z.ZodType>(value: T) {
  return z.record(nameSchema, value).refine((entries) => Object.keys(entries).length <= MAX_NAMES, `must name at most ${MAX_NAMES} checks`);
}

/** What holds for the checks of what a repository's runs publish; what is left out has a default. */
export const checksSettingsSchema = z.strictObject({
  /** Whether runs wait for the checks of the commit that they published. */
  watch: z.boolean().default(false),
  /** How often a check that failed goes back to the agent in one turn. */
  retries: retriesSchema.default(DEFAULT_CHECK_RETRIES),
  /** The same of single checks, by their names. */
  retriesByCheck: byName(retriesSchema).default({}),
  /** Checks that count for nothing: names, in which `*` stands for any text. */
  ignored: z.array(nameSchema).max(MAX_NAMES).default([]),
  /** What the agent is told to do about a check that failed, by its name, in place of the usual words. */
  prompts: byName(
    z
      .string()
      .trim()
      .min(1, "must not be empty")
      .max(10_000)
      .refine((text) => !text.includes("\0"), "must not contain NUL"),
  ).default({}),
  /** How long the checks of one commit are waited for, in milliseconds. */
  timeout: z
    .int("must be a whole number")
    .min(MIN_CHECKS_TIMEOUT_MS, "must be a minute at least")
    .max(MAX_CHECKS_TIMEOUT_MS, "must be a day at most")
    .default(DEFAULT_CHECKS_TIMEOUT_MS)
    .describe(IN_MILLISECONDS),
});
/** As it is asked for. */
export type ChecksRequest = z.input<typeof checksSettingsSchema>;
/** With every default filled in. */
export type ChecksSettings = z.output<typeof checksSettingsSchema>;

/** The same, as a repository shows it. */
export const checksShownSchema = z.object({
  watch: z.boolean(),
  retries: z.number().int(),
  retriesByCheck: z.record(z.string(), z.number().int()),
  ignored: z.array(z.string()),
  prompts: z.record(z.string(), z.string()),
  timeout: z.number().int().describe(IN_MILLISECONDS),
});

/** What a run says of the checks of what it publishes. */
export const runChecksSchema = z.object({
  /** Whether it waits for them now, in nobody's hands. */
  waiting: z.boolean(),
  /** How often failures went back to the agent in this turn. */
  rounds: z.number().int(),
  /** How often they may at most. */
  retries: z.number().int(),
  /** How long those of one commit are waited for, in milliseconds. */
  timeout: z.number().int().describe(IN_MILLISECONDS),
});
export type RunChecks = z.infer<typeof runChecksSchema>;

/** How a check stands: GitHub's conclusions of check runs and states of statuses; `pending`: it has none yet. */
export const CHECK_CONCLUSIONS = [
  "pending",
  "success",
  "neutral",
  "skipped",
  "failure",
  "error",
  "timed_out",
  "startup_failure",
  "cancelled",
  "stale",
  "action_required",
] as const;
export type CheckConclusion = (typeof CHECK_CONCLUSIONS)[number];

/** A check of a commit, as a run tells of it. */
export const checkSchema = z.object({
  name: z.string(),
  conclusion: z.enum(CHECK_CONCLUSIONS),
  /** Where people read about it; null: nowhere. */
  url: z.string().nullable(),
});
export type Check = z.infer<typeof checkSchema>;

/**
 * What came of the checks of a commit: all succeeded; there were `none`; failures went back to the agent (`fed-back`), or not any
 * more (`failed`); the time was over before all had ended (`gave-up`); or the server that has them did not tell (`unknown`).
 */
export const CHECKS_OUTCOMES = ["passed", "none", "fed-back", "failed", "gave-up", "unknown"] as const;

/** `data` of the events that tell of the checks of a published commit. */
export const checksEventSchemas = {
  /** The run waits for them, without a runner. `timeout` in milliseconds. */
  "checks.started": z.object({ commit: z.string(), branch: z.string(), timeout: z.number().int().describe(IN_MILLISECONDS) }),
  "checks.finished": z.object({
    commit: z.string(),
    outcome: z.enum(CHECKS_OUTCOMES),
    /** How often failures went back to the agent in this turn, this time with them. */
    rounds: z.number().int(),
    /** Those that the outcome is about, at most 100. */
    checks: z.array(checkSchema).max(100),
    message: z.string(),
  }),
};
