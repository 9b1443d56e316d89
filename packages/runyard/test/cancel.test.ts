// A cancel ends everything that an agent has started, whatever it has done to be left alone.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";
import { bearersOf, STUBBORN_AGENT } from "../src/testing/stubborn-agent.ts";

const CANCELS = process.env["RUNYARD_TEST_FULL"] ? 100 : 2;
/** At once: each of these agents keeps forking. */
const LANES = 2;

const { reason } = await sandboxDriver("bwrap").probe();

describe.skipIf(process.platform !== "linux")("an agent that does not want to end", () => {
  let database: TestDatabase;
  let home: TestHome;
  let server: TestServer;
  let repository: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString });
    repository = makeRepository(home.root, { "agent.sh": STUBBORN_AGENT });
    server = await home.up();
  });
  afterAll(async () => {
    await home.close();
    await database.drop();
  });

  async function cancelOne(driver: "bwrap" | "process", word: string): Promise<void> {
    const { runs } = server.client;
    const { id } = await runs.create({
      task: "Stay",
      repositoryUrl: repository,
      agent: { command: ["/bin/sh", "agent.sh", word] },
      permissionPolicy: { ask: [], deny: [] },
      settings: { sandboxDriver: driver },
    });
    for await (const event of runs.events(id)) if (event.type === "plan.updated") break;
    // The control: it is all there before.
    await expect.poll(() => bearersOf(word).length).toBeGreaterThan(8);
    await runs.cancel(id);
    expect(await runs.waitForEnd(id)).toMatchObject({ status: "cancelled", cancelRequested: true });
    expect((await readLog(server.client, id)).map(({ type }) => type).filter((type) => type.startsWith("run."))).toEqual([
      "run.created",
      "run.started",
      ...["preparing", "building"].map(() => "run.phase"),
      "run.cancelled",
    ]);
    // When a run has ended, so has everything of it.
    expect(bearersOf(word)).toEqual([]);
  }

  async function expectNothingLeft(driver: "bwrap" | "process"): Promise<void> {
    let serial = 0;
    const lane = async (): Promise<void> => {
      while (serial < CANCELS) await cancelOne(driver, `stubborn-${process.pid}-${driver}-${(serial += 1)}-`);
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    // What had slipped through would be up by now.
    await sleep(300);
    expect(bearersOf(`stubborn-${process.pid}-${driver}-`)).toEqual([]);
  }

  test(`without isolation: ${CANCELS} cancels leave nothing alive`, () => expectNothingLeft("process"), 600_000);
  test.skipIf(reason !== null)(
    `in a sandbox: ${CANCELS} cancels leave nothing alive${reason === null ? "" : ` (skipped: ${reason})`}`,
    () => expectNothingLeft("bwrap"),
    600_000,
  );
});
