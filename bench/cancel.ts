// From the request to cancel a run to the moment when nothing of it lives: an agent that ignores TERM, forks,
// leaves its session and keeps forking.
import { writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxDriverName } from "@runyard/sdk/contract";
import { TERMINATION_GRACE_MS } from "../packages/runyard/src/sandbox/kill.ts";
import { bearersOf, STUBBORN_AGENT } from "../packages/runyard/src/testing/stubborn-agent.ts";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { ms, type Row } from "./lib/report.ts";
import { createRun, openLog } from "./lib/runs.ts";
import { interleave, quantile } from "./lib/stats.ts";

const CANCELS = 40;
const LIMIT_MS = 1_000;
const LOOK_MS = 2;
const GIVE_UP_MS = 30_000;

/** One cancel: from the request to the last process, and to the answer that it has been noted. */
interface Cancelled {
  readonly deadMs: number;
  readonly answerMs: number;
}

export async function benchCancel(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, async (home) => {
    writeFileSync(path.join(home.repository, "stubborn.sh"), STUBBORN_AGENT);
    const git = (...words: string[]): void => void execFileSync("git", ["-C", home.repository, ...words]);
    git("add", "--all");
    git("-c", "user.name=Bench", "-c", "user.email=bench@runyard.invalid", "commit", "--quiet", "--message", "Stubborn");
    const server = await home.up();
    const measured = await interleave(context.count(CANCELS), {
      bwrap: () => cancelOne(home, server, "bwrap"),
      process: () => cancelOne(home, server, "process"),
    });
    return Object.entries(measured).flatMap(([driver, cancels]) => rowsOf(driver, cancels));
  });
}

let serial = 0;

async function cancelOne(home: BenchHome, server: BenchServer, driver: SandboxDriverName): Promise<Cancelled> {
  const word = `stubborn-bench-${process.pid}-${(serial += 1)}-`;
  const { id } = await createRun(server, {
    task: "Stay",
    repositoryUrl: home.repository,
    agent: { command: ["/bin/sh", "stubborn.sh", word] },
    permissionPolicy: { ask: [], deny: [] },
    settings: { sandboxDriver: driver },
  });
  const log = await openLog(server, id);
  for await (const data of log) if (String(data).includes('"plan.updated"')) break;
  log.destroy();
  // Until all of it is there.
  while (bearersOf(word).length <= 8) await sleep(LOOK_MS);
  const headers = { authorization: `Bearer ${server.token}` };
  const begunAt = performance.now();
  const response = await fetch(`${server.url}/v1/agent-runs/${id}/cancel`, { method: "POST", headers });
  if (!response.ok) throw new Error(`The cancel was refused (${response.status})`);
  const answerMs = performance.now() - begunAt;
  for (;;) {
    const left = bearersOf(word);
    const deadMs = performance.now() - begunAt;
    if (left.length === 0) return { deadMs, answerMs };
    if (deadMs > GIVE_UP_MS) throw new Error(`Processes of a cancelled run live on: ${left.join(", ")}`);
    await sleep(LOOK_MS);
  }
}

function rowsOf(driver: string, cancels: readonly Cancelled[]): Row[] {
  const row = (item: string, value: number, target: Row["target"] = null): Row => ({
    bench: "cancel",
    item: `${driver}: ${item}`,
    candidate: ms(value),
    floor: "",
    ratio: null,
    target,
  });
  const dead = (share: number): number =>
    quantile(
      cancels.map(({ deadMs }) => deadMs),
      share,
    );
  return [
    row(
      `cancel answered, p50 of ${cancels.length}`,
      quantile(
        cancels.map(({ answerMs }) => answerMs),
        0.5,
      ),
    ),
    row(`cancel to dead tree, p50 (TERM has ${TERMINATION_GRACE_MS} ms of it)`, dead(0.5)),
    row("cancel to dead tree, p95", dead(0.95), { text: `< ${LIMIT_MS} ms`, met: dead(0.95) < LIMIT_MS }),
    row("cancel to dead tree, longest", dead(1)),
  ];
}
