import type { MetricsSample, RunMetrics } from "@runyard/sdk/contract";
import { bytes, count, duration, type Paint, printable } from "./output.ts";

/** What a run used altogether and at most, on one line; what was not measured is not in it. */
export function renderPeaks({ totals, peaks }: Pick<RunMetrics, "totals" | "peaks">): string {
  const most = [
    peaks.memoryBytes === null ? "" : `${bytes(peaks.memoryBytes)} of memory`,
    // A step that was over before it was looked at has no process left then.
    peaks.processes ? `${count(peaks.processes)} processes` : "",
    peaks.threads ? `${count(peaks.threads)} threads` : "",
    peaks.diskBytes === null ? "" : `${bytes(peaks.diskBytes)} of disk`,
  ].filter(Boolean);
  const parts = [
    totals.cpuMs === null ? "" : `${duration(totals.cpuMs)} of processor time`,
    most.length === 0 ? "" : `at most ${most.join(", ")}`,
  ];
  return parts.filter(Boolean).join("; ") || "nothing was measured";
}

const HEADINGS = ["at", "step", "CPU", "load", "memory", "peak", "processes", "threads", "disk"];
/** Where and when is read from the left, figures from the right. */
const TEXT_COLUMNS = 2;

/** A heading, and a line for each sample. */
export function renderSamples(samples: readonly MetricsSample[], paint: Paint): string[] {
  const severalAttempts = samples.some(({ attempt }) => attempt !== samples[0]?.attempt);
  const before = new Map<string, MetricsSample>();
  const rows = samples.map((sample) => {
    const name = `${sample.attempt} ${sample.step}`;
    const cells = cellsOf(sample, { before: before.get(name), step: severalAttempts ? `attempt ${name.replace(" ", ", ")}` : sample.step });
    before.set(name, sample);
    return cells;
  });
  const widths = HEADINGS.map((heading, column) => Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, column) => (column < TEXT_COLUMNS ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ");
  return [paint("dim", line(HEADINGS)), ...rows.map((row) => line(row).trimEnd())];
}

function cellsOf(sample: MetricsSample, { before, step }: { readonly before: MetricsSample | undefined; readonly step: string }): string[] {
  const { at, cpuMs, memoryBytes, memoryPeakBytes, processes, threads, diskBytes } = sample;
  return [
    `${at.slice(0, 19)}Z`,
    printable(step),
    shown(cpuMs, duration),
    shown(loadOf(sample, before), (load) => `${Math.round(load * 100)} %`),
    shown(memoryBytes, bytes),
    shown(memoryPeakBytes, bytes),
    shown(processes, count),
    shown(threads, count),
    shown(diskBytes, bytes),
  ];
}

function shown(figure: number | null, words: (figure: number) => string): string {
  return figure === null ? "" : words(figure);
}

/** Processors that a step was using since the sample before; null: not known. */
function loadOf(sample: MetricsSample, before: MetricsSample | undefined): number | null {
  if (before === undefined || sample.cpuMs === null || before.cpuMs === null) return null;
  const passedMs = Date.parse(sample.at) - Date.parse(before.at);
  return passedMs > 0 ? Math.max(0, sample.cpuMs - before.cpuMs) / passedMs : null;
}
