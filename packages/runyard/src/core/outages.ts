import type { NewEvent } from "@runyard/sdk/contract";

/** How a model call ended. */
export interface CallOutcome {
  readonly ok: boolean;
  /** The provider's HTTP status; null: there was no answer. */
  readonly status: number | null;
  /** How often the provider was asked; null: not known. */
  readonly tries: number | null;
  readonly error: string | null;
}

/** What a run's log has been told of its provider, and has not been told to be over. */
export type Outage = { readonly kind: "failing"; readonly status: number | null } | { readonly kind: "busy" };

/**
 * What the log is to be told of calls that have ended: the first one that fails, in this way, and the first one that succeeds
 * again, not each of the tries in between; the same of a provider that was too busy at first.
 */
export function seeOutages(before: Outage | null, calls: readonly CallOutcome[]): { outage: Outage | null; events: NewEvent[] } {
  let outage = before;
  const events: NewEvent[] = [];
  const tell = (level: "info" | "warning", code: string, message: string): void =>
    void events.push({ type: "notice", data: { level, code, message } });
  for (const call of calls) {
    if (!call.ok) {
      const { status, error } = call;
      const isKnown = outage?.kind === "failing" && outage.status === status;
      if (!isKnown)
        tell("warning", "model-call-failed", `A model call failed${status === null ? "" : ` (${status})`}: ${error ?? "no answer"}`);
      outage = { kind: "failing", status };
      continue;
    }
    const isBusy = (call.tries ?? 1) > 1;
    if (outage?.kind === "failing") tell("info", "model-calls-recovered", "Model calls succeed again.");
    if (isBusy && outage?.kind !== "busy")
      tell("info", "model-provider-busy", "The model provider was too busy, and asked to wait: the call was made again when it said so.");
    outage = isBusy ? { kind: "busy" } : null;
  }
  return { outage, events };
}
