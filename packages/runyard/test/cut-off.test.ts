// A runner that lives and loses its way to the database for longer than its lease: nothing comes through, nothing is refused.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { BEATING_AGENT, beatingAgentOf } from "../src/testing/beating-agent.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { type DatabaseLine, openDatabaseLine } from "../src/testing/database-line.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const LEASE_MS = 2_000;

let database: TestDatabase;
/** Swallows everything without a word while it is cut, as a network does that has lost its way. */
let line: DatabaseLine;
let isCut = false;
let api: TestHome;
let served: TestServer;
const homes: TestHome[] = [];

beforeAll(async () => {
  if (!full) return;
  database = await createTestDatabase();
  line = await openDatabaseLine(database.connectionString, () => (isCut ? "swallow" : "carry"));
  const timings = { RUNYARD_TEST_LEASE_MS: String(LEASE_MS), RUNYARD_TEST_POLL_MS: "500" };
  api = makeTestHome({ DATABASE_URL: database.connectionString, ...timings });
  homes.push(
    api,
    makeTestHome({ DATABASE_URL: line.url, ...timings }),
    makeTestHome({ DATABASE_URL: database.connectionString, ...timings }),
  );
  served = await api.up("--role", "api", "--unsafe-process");
}, 60_000);
afterAll(async () => {
  heal();
  await Promise.all(homes.map((home) => home.close()));
  line?.close();
  await database?.drop();
}, 60_000);

test.skipIf(!full)(
  full ? "its run goes on elsewhere, and what it started ends when it is back" : "a runner that is cut off (npm run test:full)",
  async () => {
    const [, cutOff, other] = homes as [TestHome, TestHome, TestHome];
    await cutOff.up("--role", "runner", "--unsafe-process");
    const repository = makeRepository(api.root, { "agent.mjs": BEATING_AGENT });
    const go = path.join(api.root, "go");
    const { id } = await served.client.runs.create({
      task: "Beat",
      repositoryUrl: repository,
      agent: { command: ["node", "agent.mjs", go] },
    });
    const first = await beatingAgentOf(served.client, id, 1);
    isCut = true;
    await other.up("--role", "runner", "--unsafe-process");
    const second = await beatingAgentOf(served.client, id, 2);
    expect(identifyProcess(first)).not.toBeNull();

    heal();
    await expect.poll(() => identifyProcess(first)).toBeNull();
    const name = readFileSync(path.join(cutOff.root, "home", "runner-id"), "utf8").trim();
    await expect.poll(async () => (await served.client.status()).runners.find((runner) => runner.id === name)?.state).toBe("alive");
    expect(identifyProcess(second)).not.toBeNull();
    writeFileSync(go, "");
    expect(await served.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 2, error: null });
    const log = await readLog(served.client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, at) => at + 1));
    expect(log.map((event) => event.attempt)).toEqual(log.map((event) => event.attempt).toSorted((a, b) => a - b));
    expect(gitIn(repository, "show", `runyard/${id}:result.txt`)).toBe("done");
  },
  120_000,
);

/** What was on its way is lost with its connections; new ones come through. */
function heal(): void {
  isCut = false;
  line?.drop();
}
