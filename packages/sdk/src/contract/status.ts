import { z } from "zod";

/** The stable states of a run, as `status` in the API shows them. */
export const RUN_STATUSES = [
  "pending",
  "running",
  "awaiting_plan",
  "awaiting_input",
  "completed",
  "failed",
  "cancelled",
  "timeout",
] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];
export const runStatusSchema = z.enum(RUN_STATUSES);

export const TERMINAL_STATUSES = ["completed", "failed", "cancelled", "timeout"] as const;
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];

/** True when a run in this status takes no more events until somebody continues it. */
export function isTerminal(status: RunStatus): status is TerminalStatus {
  return (TERMINAL_STATUSES as readonly RunStatus[]).includes(status);
}

/** What a run is doing, finer than its status; `progress.currentStep` shows it. */
export const RUN_PHASES = ["queued", "preparing", "planning", "building", "verifying", "publishing"] as const;
export type RunPhase = (typeof RUN_PHASES)[number];
export const runPhaseSchema = z.enum(RUN_PHASES);

/** Why a run failed, as `error.type` names it. */
export const RUN_ERROR_TYPES = [
  "timeout",
  "out-of-memory",
  "disk-full",
  "network-error",
  "rate-limit",
  "sandbox-unavailable",
  "no-model-configured",
  "budget-exceeded",
  "policy-violation",
  "setup-failed",
  "merge-failed",
  "agent-error",
  "compilation-error",
  "test-failure",
  "lost",
  "replay-diverged",
] as const;
export type RunErrorType = (typeof RUN_ERROR_TYPES)[number];
export const runErrorTypeSchema = z.enum(RUN_ERROR_TYPES);

export const runErrorSchema = z.object({
  type: runErrorTypeSchema,
  /** One or two plain sentences: what happened and, where something can be done, what to do. */
  message: z.string(),
});
export type RunError = z.infer<typeof runErrorSchema>;
