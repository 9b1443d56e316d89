// What one more run costs in memory while it works, and while it waits for a person: of the server, and of what it starts.
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { findProcesses, memoryOf, treeOf } from "./lib/process.ts";
import { megabytes, type Row } from "./lib/report.ts";
import { createRun, openLog, trivialRun } from "./lib/runs.ts";

const RUNS = 20;
const SETTLE_MS = 3_000;

const KINDS = [
  { name: "running", task: "Please wait", sign: '"agent.started"' },
  { name: "waiting for a person", task: "May I ask", sign: '"permission.requested"' },
] as const;

export async function benchMemory(context: BenchContext): Promise<Row[]> {
  const rows: Row[] = [];
  for (const kind of KINDS) {
    rows.push(
      ...(await withHome(context.program, async (home) => {
        const server = await home.up();
        const { admin } = await home.database();
        await admin.query("update runyard.org_slots set max_active = 1000");
        // A first one brings what the server keeps anyhow.
        await startOne(home, server, kind);
        const runs = Math.max(4, context.count(RUNS));
        const before = await measure(home, server);
        for (let n = 0; n < runs; n += 1) await startOne(home, server, kind);
        const after = await measure(home, server);
        const row = (item: string, bytes: number): Row => ({
          bench: "memory",
          item: `one run more, ${kind.name} (of ${runs}): ${item}`,
          candidate: `${megabytes(bytes / runs)} PSS`,
          floor: "",
          ratio: null,
          target: null,
        });
        return [row("the server", after.server - before.server), row("its shim, sandbox and agent in sh", after.runs - before.runs)];
      })),
    );
  }
  return rows;
}

async function measure({ home }: BenchHome, server: BenchServer): Promise<{ server: number; runs: number }> {
  await sleep(SETTLE_MS);
  const pids = [...new Set(findProcesses(home.runsDir, "shim.sh").flatMap(treeOf))];
  return { server: memoryOf(server.pid).pss, runs: pids.reduce((sum, pid) => sum + memoryOf(pid).pss, 0) };
}

async function startOne(home: BenchHome, server: BenchServer, kind: (typeof KINDS)[number]): Promise<void> {
  const { id } = await createRun(server, {
    ...trivialRun({ repository: home.repository, agent: "sh", driver: "bwrap", task: kind.task }),
    permissionPolicy: { ask: ["execute"], deny: [] },
  });
  const log = await openLog(server, id);
  for await (const data of log) if (String(data).includes(kind.sign)) break;
  log.destroy();
}
