import type { EventData } from "@runyard/sdk/contract";

type PlanEntries = EventData<"plan.updated">["entries"];

/** What the agent says of its progress, a whole percentage; it never goes back either. */
export function progressReported(before: number | null, percentage: number): number {
  return Math.max(before ?? 0, percentage);
}

/** Done / total of a plan's entries as a percentage that never goes back; null as long as there is no plan. */
export function progressAfter(before: number | null, entries: PlanEntries): number | null {
  if (entries.length === 0) return before;
  const done = entries.filter((entry) => entry.status === "completed").length;
  return Math.max(before ?? 0, Math.round((100 * done) / entries.length));
}
