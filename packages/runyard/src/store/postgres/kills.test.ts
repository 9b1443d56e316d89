import type { ChildProcess } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { expect, test, vi } from "vitest";
import type { Home } from "../../home.ts";
import { dataDirOf } from "./cluster.ts";
import { ensurePostgres, postgresPid, stopPostgres } from "./postgres.ts";
import { processesServing, signalProcess } from "./process.ts";
import { moduleUrl, outputOf, scratchHome, startNode } from "./testing.ts";

const ROUNDS = process.env["RUNYARD_TEST_FULL"] ? 40 : 5;
vi.setConfig({ testTimeout: ROUNDS * 60_000 });

function killServer(home: Home): void {
  for (const pid of processesServing(dataDirOf(home))) signalProcess(pid, "SIGKILL");
}

/** A Node process that ensures the home's server; its exit code is 0 when it got one. */
function startStarter(home: Home): ChildProcess {
  return startNode(`
    import { homeAt } from ${JSON.stringify(moduleUrl("../../home.ts"))};
    import { ensurePostgres } from ${JSON.stringify(moduleUrl("postgres.ts"))};
    await ensurePostgres({ home: homeAt(${JSON.stringify(home.root)}) });
    process.exit();`);
}

/** Adds a row and gives the number of rows. */
async function addRow(connectionString: string): Promise<number> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query("create table if not exists kept (n int)");
  await client.query("insert into kept values (1)");
  const answer = await client.query<{ n: number }>("select count(*)::int as n from kept");
  await client.end();
  return answer.rows[0]?.n ?? 0;
}

// The first round is the cold start, so starters also die while programs are copied and initdb runs.
test(`${ROUNDS} times three starters, two of which and sometimes the server are killed at any moment: one server, no row lost`, async () => {
  const scratch = scratchHome();
  const { home } = scratch;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const starters = [1, 2, 3].map(() => startStarter(home));
    const killings = [
      ...starters.slice(1).map(async (starter) => {
        await wait(300 + Math.random() * (round === 1 ? 3_000 : 1_000));
        starter.kill("SIGKILL");
      }),
      wait(300 + Math.random() * 1_500).then(() => (Math.random() < 0.4 ? killServer(home) : undefined)),
    ];
    await Promise.all([...starters.map(outputOf), ...killings]);
    expect(starters[0]?.exitCode).toBe(0);
    const server = await ensurePostgres({ home });
    expect(server.pid).toBe(postgresPid(home));
    expect(await addRow(server.connectionString)).toBe(round);
    const next = Math.random();
    if (next < 0.5) killServer(home);
    else if (next < 0.75) await stopPostgres(home);
  }
  await scratch.clear();
});
