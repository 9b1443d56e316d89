import { cpus, loadavg, totalmem } from "node:os";

/** How busy the machine is before anything is measured: the load average of a minute. */
export function loadNow(): number {
  return loadavg()[0] ?? Number.NaN;
}

/** What a reader must know of the machine; no name of it, no paths. */
export function machineFacts({ postgres, loadBefore }: { postgres: string; loadBefore: number }): string {
  const date = new Date().toISOString().slice(0, 10);
  const cores = cpus();
  const model = (cores[0]?.model ?? "unknown processor").trim();
  return `${date}, ${process.platform} ${process.arch}, ${cores.length} cores (${model}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, PostgreSQL ${postgres}; load and servers on the same cores; load average before: ${loadBefore.toFixed(1)}.`;
}
