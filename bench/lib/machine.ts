import { cpus, totalmem } from "node:os";

/** What a reader must know of the machine; no name of it, no paths. */
export function machineFacts(postgres: string): string {
  const date = new Date().toISOString().slice(0, 10);
  const cores = cpus();
  const model = (cores[0]?.model ?? "unknown processor").trim();
  return `${date}, ${process.platform} ${process.arch}, ${cores.length} cores (${model}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, PostgreSQL ${postgres}; load and servers on the same cores.`;
}
