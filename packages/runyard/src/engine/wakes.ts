/**
 * Wake-ups: who commits tells who waits (in this process; `wake-relay.ts` carries them to others). A wake-up carries no data and may come too
 * often; whoever is woken reads the store, which holds the truth.
 */
export interface Wakes {
  /** Wakes everybody who waits for this topic (a run's id for its log, or one of the topics below). */
  notify(topic: string): void;
  /** Wakes everybody: anything may have happened. */
  notifyAll(): void;
  /** Calls `wake` at every notification until the returned function is called. */
  subscribe(topic: string, wake: () => void): () => void;
}

/** The topic of "a run may be claimable now". */
export const CLAIM = "claim";

/** The topic of "a plan may be due for a decision of the policy". */
export const PLANS_DUE = "plans-due";

/** The topic of "a snapshot may be to be removed from a disk". */
export const SNAPSHOTS = "snapshots";

/** The topic of "a person did something to this run": a wish to cancel it, or an answer. */
export function control(runId: string): string {
  return `control:${runId}`;
}

/** The topic of "an effect may be due". */
export const OUTBOX = "outbox";

/** The topic of "something became of this effect". */
export function effectTopic(id: string): string {
  return `effect:${id}`;
}

export function createWakes(): Wakes {
  const waiting = new Map<string, Set<() => void>>();
  return {
    notify(topic) {
      for (const wake of waiting.get(topic) ?? []) wake();
    },
    notifyAll() {
      for (const set of waiting.values()) for (const wake of set) wake();
    },
    subscribe(topic, wake) {
      const set = waiting.get(topic) ?? new Set();
      // One entry for each subscription, also when the same function subscribes twice.
      const entry = (): void => wake();
      set.add(entry);
      waiting.set(topic, set);
      return () => {
        set.delete(entry);
        if (set.size === 0 && waiting.get(topic) === set) waiting.delete(topic);
      };
    },
  };
}
