import { z } from "zod";
import { IN_MILLISECONDS } from "./milliseconds.ts";
import { runErrorSchema, runErrorTypeSchema } from "./status.ts";

/** Sizes of a sandbox, as seed 001 names them. */
export const SANDBOX_TYPES = ["standard", "high-memory", "high-cpu", "gpu"] as const;
export type SandboxType = (typeof SANDBOX_TYPES)[number];
export const sandboxTypeSchema = z.enum(SANDBOX_TYPES);

/** The other names that seed 001 has for sizes. */
export const MACHINE_TYPES = ["small", "medium", "large"] as const;
export type MachineType = (typeof MACHINE_TYPES)[number];

export const RETRY_STRATEGIES = ["exponential-backoff"] as const;

/** Types of error after which a run may be tried again; with the others a new try could not help, or would do harm. */
export const RETRYABLE_ERRORS = [
  "network-error",
  "rate-limit",
  "sandbox-unavailable",
  "lost",
  "timeout",
  "out-of-memory",
  "agent-error",
  "setup-failed",
  "compilation-error",
  "test-failure",
] as const;
export type RetryableError = (typeof RETRYABLE_ERRORS)[number];
const retryableErrorSchema = z.enum(RETRYABLE_ERRORS);
/** What is tried again when `maxRetries` is above 0 and nothing is named: what comes from outside the task. */
export const DEFAULT_RETRYABLE_ERRORS: readonly RetryableError[] = ["network-error", "rate-limit", "sandbox-unavailable", "lost"];
export const MAX_RETRIES = 10;

/** The part of `settings` that says how often, after what, and with what a run is tried. */
export const attemptSettings = {
  /** How many attempts may follow the first one; default 0. */
  maxRetries: z.int().min(0).max(MAX_RETRIES).optional(),
  retryStrategy: z.enum(RETRY_STRATEGIES).optional(),
  retryableErrors: z.array(retryableErrorSchema).max(RETRYABLE_ERRORS.length).optional(),
  /** What is changed for one further attempt, which does not count as a retry; each happens once. */
  recovery: z
    .strictObject({
      /** After `timeout`: twice the time. */
      timeout: z.literal("double").optional(),
      /** After `out-of-memory`: the sandbox type `high-memory`. */
      outOfMemory: z.literal("high-memory").optional(),
    })
    .optional(),
  sandboxType: sandboxTypeSchema.optional(),
  /** Another way to say `sandboxType`: `small` is `standard`, `medium` is `high-cpu`, `large` is `high-memory`. */
  machineType: z.enum(MACHINE_TYPES).optional(),
};

export const VERIFY_KINDS = ["build", "test", "lint"] as const;
export type VerifyKind = (typeof VERIFY_KINDS)[number];
const verifyKindSchema = z.enum(VERIFY_KINDS);

/** Default and longest time of one command, in milliseconds. */
export const DEFAULT_VERIFY_TIMEOUT_MS = 600_000;
const MAX_VERIFY_TIMEOUT_MS = 24 * 3_600_000;
export const MAX_VERIFY_COMMANDS = 20;
/** How often a failure goes back to the agent. */
export const DEFAULT_VERIFY_RETRIES = 1;
export const MAX_VERIFY_RETRIES = 5;

/** Commands that must succeed in the workspace before anything is published, in this order. */
export const verifySchema = z
  .array(
    z.strictObject({
      /** Given to `/bin/sh -c`. */
      run: z
        .string()
        .trim()
        .min(1, "must name a command")
        .max(10_000)
        .refine((text) => !text.includes("\0"), "must not contain NUL"),
      kind: verifyKindSchema,
      /** In milliseconds. */
      timeout: z.int().min(1_000).max(MAX_VERIFY_TIMEOUT_MS).default(DEFAULT_VERIFY_TIMEOUT_MS).describe(IN_MILLISECONDS),
    }),
  )
  .max(MAX_VERIFY_COMMANDS);
export const verifyRetriesSchema = z.int().min(0).max(MAX_VERIFY_RETRIES);

/** The same of a run or a repository that exists. */
export const verifyCommandShownSchema = z.object({
  run: z.string(),
  kind: verifyKindSchema,
  timeout: z.number().int().describe(IN_MILLISECONDS),
});

/** The same settings of a run that exists, with every default filled in. */
export const attemptSettingsShown = {
  sandboxType: sandboxTypeSchema,
  maxRetries: z.number().int(),
  retryStrategy: z.enum(RETRY_STRATEGIES),
  retryableErrors: z.array(runErrorTypeSchema),
  recovery: z.object({ timeout: z.literal("double").nullable(), outOfMemory: z.literal("high-memory").nullable() }),
};

/** Why a command was ended before it ended by itself; null: it was not. */
const verifyCauseSchema = z.enum(["timeout", "output-limit", "out-of-memory"]).nullable();

const verifyOutcome = {
  command: z.string(),
  kind: verifyKindSchema,
  /** 1 for the agent's first work, one more each time that a failure went back to it. */
  round: z.number().int(),
  passed: z.boolean(),
  /** 128 + n after signal n; null when it was ended from outside. */
  exitCode: z.number().int().nullable(),
  cause: verifyCauseSchema,
};
export const verifyResultSchema = z.object(verifyOutcome);
export type VerifyResult = z.infer<typeof verifyResultSchema>;

/** What a run shows of its attempts and of what was verified. */
export const attemptsShown = {
  /** Attempts of this turn that broke and were followed by another one. */
  failedAttempts: z.array(z.object({ attempt: z.number().int(), error: runErrorSchema })),
  /** While the next attempt is waited for: when it begins. */
  retryAt: z.iso.datetime().nullable(),
  /** What holds for the present attempt: as asked for, or as a recovery changed it. */
  inForce: z.object({ timeout: z.number().int().describe(IN_MILLISECONDS), sandboxType: sandboxTypeSchema }),
  verify: z.array(verifyCommandShownSchema),
  verifyRetries: z.number().int(),
  /** Of the present attempt, in the order in which they ended. */
  verifyResults: z.array(verifyResultSchema),
};

/** `data` of the events that tell of attempts and of what was verified. */
export const attemptEventSchemas = {
  /** The last event of an attempt that broke; `attempt` is the number of the next one, the rest what it gets. */
  "run.retrying": z.object({
    attempt: z.number().int(),
    error: runErrorSchema,
    delayMs: z.number().int(),
    timeout: z.number().int().describe(IN_MILLISECONDS),
    sandboxType: sandboxTypeSchema,
  }),
  "verify.started": z.object({ command: z.string(), kind: verifyKindSchema, round: z.number().int() }),
  "verify.finished": z.object({
    ...verifyOutcome,
    /** The end of what it wrote, stdout and stderr together, at most 16 KiB. */
    output: z.string(),
    truncated: z.boolean(),
  }),
};
