// Runs whose sandboxes have no memory beside those at work: they wait, visibly, and begin when there is some.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BEATING_AGENT, beatingAgentOf } from "../src/testing/beating-agent.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { makeRepository, makeTestHome, type TestHome } from "../src/testing/server.ts";

let database: TestDatabase;
let home: TestHome;
beforeAll(async () => {
  database = await createTestDatabase();
  home = makeTestHome({ DATABASE_URL: database.connectionString, RUNYARD_MEMORY_BUDGET: "3.5" });
});
afterAll(async () => {
  await home?.close();
  await database?.drop();
}, 60_000);

test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
  "a run waits for memory, says so, and begins when there is some; what never fits is refused at once",
  async () => {
    const { client } = await home.up("--unsafe-process");
    const repository = makeRepository(home.root, { "agent.mjs": BEATING_AGENT });
    const goFile = path.join(home.root, "go");
    const words = ["run", "Beat", "--repo", repository, "--agent-command", `node agent.mjs ${goFile}`];
    const cli = async (...more: string[]): Promise<string> => {
      const done = await home.cli(more);
      expect([more, done.code, done.stderr]).toEqual([more, 0, expect.anything()]);
      return done.stdout;
    };
    const create = async (): Promise<string> => (JSON.parse(await cli(...words, "--detach", "--json")) as Run).id;
    const untilEnded = async (id: string): Promise<Run> => {
      for (let run = await client.runs.get(id); ; run = await client.runs.get(id)) {
        if (run.finishedAt !== null) return run;
        await sleep(100);
      }
    };

    expect(JSON.parse(await cli(...words, "--estimate", "--json"))).toMatchObject({ waitsFor: [] });
    const first = await create();
    await beatingAgentOf(client, first, 1);
    expect(await cli(...words, "--estimate")).toContain("it would wait for the memory of its sandbox");
    const second = await create();
    expect(await client.runs.get(second)).toMatchObject({ status: "pending", queuePosition: 1, queueReason: "memory" });
    expect(await cli("show", second)).toContain("next in line, waits for the memory of its sandbox");
    expect(await home.cli([...words, "--sandbox-type", "high-cpu"])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/has\s4\sGB\sof\smemory,\sand\sthis\smachine\shas\s3\.5\sGB\sfor\sruns/) as unknown,
    });
    writeFileSync(goFile, "");
    for (const id of [first, second]) expect(await untilEnded(id)).toMatchObject({ status: "completed" });
  },
  60_000,
);
