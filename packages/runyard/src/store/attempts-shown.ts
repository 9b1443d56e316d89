import type { Run, VerifyResult } from "@runyard/sdk/contract";
import { type AttemptSettings, attemptSettingsOf, NO_TRIES, type Tries, typeInForce } from "../core/attempts.ts";
import type { RunRow } from "./run-row.ts";

type Place = Pick<RunRow, "turn" | "attempt" | "lost_turn" | "lost_attempt">;
type Stored = Place & Pick<RunRow, "state" | "resume">;
type Row = Stored & Pick<RunRow, "spec">;

/** What the runner's stored state says of attempts; the rest of it is the runner's own. */
interface StoredAttempts {
  readonly tries?: Tries;
  readonly verify?: { readonly results: readonly VerifyResult[] };
  readonly made?: { readonly head: string | null };
}

/** What a run asked for; a run of an earlier version asked for nothing. */
export function attemptSettings(row: Pick<RunRow, "spec">): AttemptSettings {
  return row.spec.attempts ?? attemptSettingsOf({});
}

/** What the attempts of the turn have used up. An attempt behind a lost runner has it from whoever found that out. */
export function triesOf(row: Stored): Tries {
  return (row.state as StoredAttempts).tries ?? (followsLoss(row) ? row.resume?.tries : null) ?? NO_TRIES;
}

/** Whether the present attempt, or the one that is waited for, is the next behind one whose runner was lost. */
export function followsLoss({ turn, attempt, lost_turn: lostTurn, lost_attempt: lost }: Place): boolean {
  return lost !== null && lostTurn === turn && (attempt === lost || attempt === lost + 1);
}

/** Whether the attempt has made a commit, so that its branch may be out. Before that, publishing touches nothing of anybody's. */
export function mayBeOut(row: Pick<RunRow, "state">): boolean {
  return ((row.state as StoredAttempts).made?.head ?? null) !== null;
}

/** The time that the present attempt may use, in milliseconds. */
export function timeoutInForce(row: Row): number {
  return triesOf(row).timeoutMs ?? row.spec.timeoutMs;
}

type Shown = Pick<Run, "failedAttempts" | "retryAt" | "inForce" | "verify" | "verifyRetries" | "verifyResults">;

/** The part of a run's document that tells of its attempts. */
export function showAttempts(row: Row & Pick<RunRow, "finished_at">): Shown {
  const settings = attemptSettings(row);
  const tries = triesOf(row);
  const waits = tries.notBeforeMs !== null && row.finished_at === null;
  return {
    failedAttempts: [...tries.failed],
    retryAt: waits ? new Date(tries.notBeforeMs).toISOString() : null,
    inForce: { timeout: timeoutInForce(row), sandboxType: typeInForce(settings, tries) },
    verify: [...settings.verify],
    verifyRetries: settings.verifyRetries,
    verifyResults: [...((row.state as StoredAttempts).verify?.results ?? [])],
  };
}

/** The part of its `settings` that does. */
export function showAttemptSettings(
  row: Pick<RunRow, "spec">,
): Pick<Run["settings"], "sandboxType" | "maxRetries" | "retryStrategy" | "retryableErrors" | "recovery"> {
  const { maxRetries, retryableErrors, recovery, sandboxType } = attemptSettings(row);
  return { sandboxType, maxRetries, retryStrategy: "exponential-backoff", retryableErrors: [...retryableErrors], recovery };
}
