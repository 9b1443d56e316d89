import type { RunyardClient } from "@runyard/sdk";
import type { Run } from "@runyard/sdk/contract";
import { count, plural } from "./output.ts";

/** How often is looked where a run stands in the queue, in milliseconds. */
const LOOK_MS = 1_000;

/** next in line, 2nd in line, 23rd in line. */
export function placeInLine(position: number): string {
  if (position === 1) return "next in line";
  const [units, tens] = [position % 10, position % 100];
  const isTeen = tens >= 11 && tens <= 13;
  const suffix = isTeen ? "th" : (({ 1: "st", 2: "nd", 3: "rd" } as Readonly<Record<number, string>>)[units] ?? "th");
  return `${count(position)}${suffix} in line`;
}

/** Where a queued run stands, and what it waits for beside its turn. */
export function placeOf({ queuePosition, queueReason }: Pick<Run, "queuePosition" | "queueReason">): string {
  const place = placeInLine(queuePosition ?? 1);
  if (queueReason === "memory") return `${place}, waits for the memory of its sandbox`;
  if (queueReason === "agent-daily-cap") return `${place}, waits for its agent's daily cap`;
  return queueReason === "daily-cap" ? `${place}, waits for the organization's daily cap` : place;
}

/** What a person who waits wants to know: queued, 3rd in line; 10 runs are at work. */
export function describeQueue(run: Pick<Run, "queuePosition" | "queueReason">, atWork = 0): string {
  const others = atWork === 0 ? "" : `; ${plural(atWork, "run")} ${atWork === 1 ? "is" : "are"} at work`;
  return `queued, ${placeOf(run)}${others}`;
}

/** Tells where a run stands in the queue, again and again until it is taken up; then null, once. `close` ends it earlier. */
export function watchQueue(client: RunyardClient, runId: string, tell: (text: string | null) => void): { close(): void } {
  const leave = new AbortController();
  const options = { signal: leave.signal, maxRetries: 0 };
  const look = async (): Promise<void> => {
    const [run, status] = await Promise.all([client.runs.get(runId, options), client.status(options)]);
    if (leave.signal.aborted) return;
    if (run.queuePosition === null) return close();
    tell(describeQueue(run, status.runs.running + status.runs.waiting));
  };
  let isLooking = false;
  const lookOnce = (): void => {
    if (isLooking) return;
    isLooking = true;
    // A server that is away for a moment is looked for again; the log says what becomes of the run.
    look()
      .catch(() => undefined)
      .finally(() => (isLooking = false));
  };
  const timer = setInterval(lookOnce, LOOK_MS);
  const close = (): void => {
    clearInterval(timer);
    if (leave.signal.aborted) return;
    leave.abort();
    tell(null);
  };
  lookOnce();
  return { close };
}
