// The command line where more runs are wanted than may be at work: the queue, its limit, and creates that are repeated.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runAtTerminal, screenOf } from "../src/cli/testing/terminal.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

let database: TestDatabase;
let home: TestHome;
let server: TestServer;
let repository: string;

beforeAll(async () => {
  database = await createTestDatabase();
  home = makeTestHome({ DATABASE_URL: database.connectionString, RUNYARD_MAX_RUNS: "5" });
  server = await home.up("--simulate", "--unsafe-process", "--max-runs", "1");
  repository = makeRepository(home.root, { "a.txt": "a\n", "package.json": "{}\n" });
}, 120_000);
afterAll(async () => {
  await home.close();
  await database.drop();
});

const run = (...words: string[]) => home.cli(["run", ...words], { cwd: repository });

async function untilItWaits(id: string): Promise<void> {
  while ((await server.client.runs.get(id)).status !== "awaiting_input") await sleep(50);
}

async function ok(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await home.cli(words);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return stdout;
}

test("what is over the limit stands in line where everybody can see it, and is taken up in turn", async () => {
  const first = (await run("Fix the tests", "--ask", "all", "--detach")).stdout.trim();
  await untilItWaits(first);

  const second = await run("Fix the docs", "--ask", "all", "--detach", "--idempotency-key", "docs-1");
  expect(second).toMatchObject({ code: 0, stderr: expect.stringContaining("It is queued, next in line. Watch it with") });
  const id = second.stdout.trim();
  expect(await run("Fix the docs", "--ask", "all", "--detach", "--idempotency-key", "docs-1")).toMatchObject({
    code: 0,
    stdout: `${id}\n`,
  });
  const other = await run("Fix the code", "--detach", "--idempotency-key", "docs-1");
  expect(other).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("used for another request") });

  // A run that waits for a person is at work.
  expect(await ok("status")).toContain("0 running, 1 waiting for an answer, 1 queued; at most 1 at a time");
  expect(await ok("show", id)).toMatch(/^pending, next in line$/m);
  expect(await ok("runs")).toMatch(new RegExp(`^${id} .*\\(next in line\\) .*Fix the docs$`, "m"));

  const columns = 100;
  const typing = [{ at: /queued, 2nd in line; 1 run is at work/, keys: "\u0003" }];
  const third = await runAtTerminal(["run", "Fix the rest"], { env: home.env, columns, cwd: repository, typing });
  expect(third.code).toBe(130);
  const lines = screenOf(third.output, columns).map((line) => line.trimEnd());
  expect(lines.filter((line) => line.includes("in line"))).toEqual([]);
  expect(lines.at(-1) === "" ? lines.slice(0, -1).join("\n") : lines.join("\n")).toContain("cancelled after");

  await ok("cancel", first);
  await untilItWaits(id);
  await ok("cancel", id);
}, 120_000);

const REFUSED: readonly (readonly [words: string[], env: Record<string, string>, reason: string])[] = [
  [["run", "x", "--idempotency-key", "a b"], {}, "visible ASCII"],
  [["up", "--max-runs", "0"], {}, "Runs at a time must be a number from 1 to 1000"],
  [["up", "--max-runs", "1e3"], {}, "Runs at a time must be a number from 1 to 1000"],
  [["up", "--role", "boss"], {}, "Allowed choices are all, api, runner"],
  [["up"], { RUNYARD_ROLE: "boss" }, 'The role must be one of all, api, runner: got "boss"\n  Set it with --role or RUNYARD_ROLE.'],
  [["up"], { RUNYARD_ROLE: "runner", DATABASE_URL: "" }, "The role runner needs DATABASE_URL"],
  [["up"], { RUNYARD_MAX_RUNS: "many" }, 'got "many"\n  Set it with --max-runs or RUNYARD_MAX_RUNS.'],
];

test.each(isFull ? REFUSED : REFUSED.slice(0, 2))("%j with %j is refused in plain words", async (words, env, reason) => {
  const elsewhere = makeTestHome(env);
  try {
    expect(await elsewhere.cli(words)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(reason) });
  } finally {
    await elsewhere.close();
  }
});
