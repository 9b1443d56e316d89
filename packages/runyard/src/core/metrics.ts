import type { MetricsSample, RunMetrics } from "@runyard/sdk/contract";

/** A run has no more samples than this. */
export const MAX_SAMPLES = 2_000;
const FIRST_INTERVAL_MS = 10_000;
/** After so many samples the next ones are twice as far apart: seven days of work fit in. */
const SAMPLES_OF_AN_INTERVAL = 250;

/** What ends soon is looked at once while it lives. */
const FIRST_LOOK_MS = 1_000;

/** Milliseconds until the next sample of a step in a run that has so many; 0: the step was not looked at yet. */
export function sampleIntervalMs(stored: number): number {
  if (stored === 0) return FIRST_LOOK_MS;
  return FIRST_INTERVAL_MS * 2 ** Math.floor(Math.min(stored, MAX_SAMPLES) / SAMPLES_OF_AN_INTERVAL);
}

type Figures = Omit<MetricsSample, "at" | "turn" | "attempt" | "step">;

/** Whether a sample says anything. */
export function isMeasured(figures: Figures): boolean {
  return Object.values(figures).some((figure) => figure !== null);
}

/** What samples come to together: sums of what each step counts for itself, and the most of everything. */
export function summarizeMetrics(samples: readonly MetricsSample[]): Pick<RunMetrics, "totals" | "peaks"> {
  const cpuOfSteps = new Map<string, number | null>();
  for (const { turn, attempt, step, cpuMs } of samples) {
    const name = `${turn} ${attempt} ${step}`;
    cpuOfSteps.set(name, most([cpuOfSteps.get(name) ?? null, cpuMs]));
  }
  const mostOf = (pick: (sample: MetricsSample) => number | null): number | null => most(samples.map(pick));
  return {
    totals: { cpuMs: sum([...cpuOfSteps.values()]) },
    peaks: {
      // Not every kernel tells the peak.
      memoryBytes: mostOf(({ memoryBytes, memoryPeakBytes }) => most([memoryBytes, memoryPeakBytes])),
      processes: mostOf(({ processes }) => processes),
      threads: mostOf(({ threads }) => threads),
      diskBytes: mostOf(({ diskBytes }) => diskBytes),
    },
  };
}

function known(figures: readonly (number | null)[]): number[] {
  return figures.filter((figure) => figure !== null);
}

function most(figures: readonly (number | null)[]): number | null {
  return known(figures).reduce<number | null>((max, figure) => Math.max(max ?? 0, figure), null);
}

function sum(figures: readonly (number | null)[]): number | null {
  return known(figures).reduce<number | null>((total, figure) => (total ?? 0) + figure, null);
}
