import {
  DEFAULT_RETRYABLE_ERRORS,
  DEFAULT_VERIFY_RETRIES,
  type EventData,
  type MachineType,
  MAX_TIMEOUT_MS,
  type RunError,
  type RunErrorType,
  type RunPhase,
  type SandboxType,
  type VerifyKind,
} from "@runyard/sdk/contract";
import { MACHINE, whyNotGranted } from "./limits.ts";

/** How often, after what, and with what a run is tried, and what is verified; every default filled in. */
export interface AttemptSettings {
  readonly maxRetries: number;
  readonly retryableErrors: readonly RunErrorType[];
  readonly recovery: { readonly timeout: "double" | null; readonly outOfMemory: "high-memory" | null };
  readonly sandboxType: SandboxType;
  readonly verify: readonly VerifyCommand[];
  readonly verifyRetries: number;
}

export interface VerifyCommand {
  readonly run: string;
  readonly kind: VerifyKind;
  /** Milliseconds. */
  readonly timeout: number;
}

/** What a request says of it; what is left out has a default. */
export interface AttemptWishes {
  readonly maxRetries?: number | undefined;
  readonly retryableErrors?: readonly RunErrorType[] | undefined;
  readonly recovery?: { readonly timeout?: "double" | undefined; readonly outOfMemory?: "high-memory" | undefined } | undefined;
  readonly sandboxType?: SandboxType | undefined;
  readonly machineType?: MachineType | undefined;
  readonly verify?: readonly VerifyCommand[] | undefined;
  readonly verifyRetries?: number | undefined;
}

/** Fills in the defaults. */
export function attemptSettingsOf(wishes: AttemptWishes): AttemptSettings {
  const { maxRetries = 0, recovery = {} } = wishes;
  return {
    maxRetries,
    retryableErrors: maxRetries === 0 ? [] : [...new Set(wishes.retryableErrors ?? DEFAULT_RETRYABLE_ERRORS)],
    recovery: { timeout: recovery.timeout ?? null, outOfMemory: recovery.outOfMemory ?? null },
    sandboxType: wishes.sandboxType ?? MACHINE[wishes.machineType ?? "small"],
    verify: wishes.verify ?? [],
    verifyRetries: wishes.verifyRetries ?? DEFAULT_VERIFY_RETRIES,
  };
}

/** What the attempts of a turn have used up so far; goes on from attempt to attempt. */
export interface Tries {
  readonly retries: number;
  /** Attempts of which only the supervising process died; not there in runs of earlier versions. */
  readonly losses?: number;
  /** Set by a recovery: the doubled time, in milliseconds. */
  readonly timeoutMs: number | null;
  /** Set by a recovery. */
  readonly sandboxType: SandboxType | null;
  /** Active time of the run at which the clock of its deadline began. */
  readonly activeBeforeMs: number;
  /** While the attempt waits to begin: until when, in milliseconds since 1970. */
  readonly notBeforeMs: number | null;
  readonly failed: readonly { readonly attempt: number; readonly error: RunError }[];
}

export const NO_TRIES: Tries = { retries: 0, timeoutMs: null, sandboxType: null, activeBeforeMs: 0, notBeforeMs: null, failed: [] };

/** Everything that the decision goes by. */
export interface BrokenAttempt {
  readonly settings: AttemptSettings;
  /** The time that the run asked for, in milliseconds. */
  readonly timeoutMs: number;
  readonly tries: Tries;
  readonly attempt: number;
  readonly phase: RunPhase;
  readonly error: RunError;
  /** Whether all that is missing is the process that watched the agent: the next attempt goes on where this one was. */
  readonly canGoOn: boolean;
  /** Active time of the run so far. */
  readonly activeMs: number;
  readonly nowMs: number;
  /** In [0, 1): drawn by whoever asks. */
  readonly random: number;
  readonly hostMemoryBytes: number;
}

export type Next =
  /** `goesOn`: in the same workspace and conversation, instead of afresh. */
  | { readonly again: true; readonly tries: Tries; readonly retry: EventData<"run.retrying">; readonly goesOn: boolean }
  /** `note`: why a recovery that was asked for is not possible. */
  | { readonly again: false; readonly note: string | null };

const NO_MORE: Next = { again: false, note: null };

/**
 * Whether an attempt that broke is followed by another one, after which delay and with what. Nothing is
 * tried again once publishing has begun: a part of the result may be out already.
 */
export function decideNext(broken: BrokenAttempt): Next {
  const { settings, tries, error } = broken;
  if (broken.phase === "publishing") return NO_MORE;
  if (error.type === "timeout" && settings.recovery.timeout !== null && tries.timeoutMs === null) {
    const timeoutMs = Math.min(2 * broken.timeoutMs, MAX_TIMEOUT_MS);
    if (timeoutMs > broken.timeoutMs) return again(broken, { timeoutMs }, 0);
  }
  if (error.type === "out-of-memory" && settings.recovery.outOfMemory !== null && typeInForce(settings, tries) !== "high-memory") {
    const note = whyNotGranted("high-memory", broken.hostMemoryBytes);
    return note === null ? again(broken, { sandboxType: "high-memory" }, 0) : { again: false, note };
  }
  if (broken.canGoOn && lossesOf(tries) < MAX_LOSSES) return { ...again(broken, { losses: lossesOf(tries) + 1 }, 0), goesOn: true };
  if (tries.retries >= settings.maxRetries || !settings.retryableErrors.includes(error.type)) return NO_MORE;
  return again(broken, { retries: tries.retries + 1 }, backoffMs(tries.retries, broken.random));
}

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 60_000;

/** 1 s x 2^n, at most 60 s, with full jitter: anything from nothing to all of it. */
export function backoffMs(retries: number, random: number): number {
  return Math.floor(random * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** retries));
}

/** How long an attempt still waits, in milliseconds: never longer than any wait is, whatever became of the clock in between. */
export function leftToWaitMs(notBeforeMs: number, nowMs: number): number {
  return Math.min(LONGEST_DELAY_MS, Math.max(0, notBeforeMs - nowMs));
}

/** How often an attempt of a turn goes on behind one whose supervising process died; it is no retry. */
const MAX_LOSSES = 3;

function lossesOf({ losses = 0 }: Tries): number {
  return losses;
}

function again(broken: BrokenAttempt, change: Partial<Tries>, delayMs: number): Extract<Next, { again: true }> {
  const { settings, attempt, error } = broken;
  const tries: Tries = {
    ...broken.tries,
    ...change,
    // Whoever ran out of time begins with all of it again; whoever broke goes on with what is left.
    activeBeforeMs: error.type === "timeout" ? broken.activeMs : broken.tries.activeBeforeMs,
    notBeforeMs: broken.nowMs + delayMs,
    failed: [...broken.tries.failed, { attempt, error }],
  };
  const inForce = { timeout: tries.timeoutMs ?? broken.timeoutMs, sandboxType: typeInForce(settings, tries) };
  return { again: true, tries, retry: { attempt: attempt + 1, error, delayMs, ...inForce }, goesOn: false };
}

/** The sandbox type of the present attempt. */
export function typeInForce(settings: AttemptSettings, tries: Tries): SandboxType {
  return tries.sandboxType ?? settings.sandboxType;
}
