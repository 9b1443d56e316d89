// The line to the database is cut between a commit and its answer: what was done is found, and goes on.
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { type DatabaseLine, openDatabaseLine } from "../src/testing/database-line.ts";
import { makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";

const AGENT = `
import { createInterface } from "node:readline";
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") continue;
  send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "Done." } } } });
  send({ id, result: { stopReason: "end_turn" } });
}
`;

let database: TestDatabase;
let home: TestHome;
let line: DatabaseLine;
let server: TestServer;
let repositoryUrl: string;
/** It is cut instead of carrying the first answer that has all of these words in it. */
let wanted: readonly string[] = [];
let cuts = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  line = await openDatabaseLine(database.connectionString, (data, from) => {
    const text = data.toString("latin1");
    if (from === "client" || wanted.length === 0 || !wanted.every((word) => text.includes(word))) return "carry";
    [wanted, cuts] = [[], cuts + 1];
    return "cut";
  });
  home = makeTestHome({ DATABASE_URL: line.url });
  server = await home.up("--unsafe-process");
  repositoryUrl = makeRepository(home.root, { "agent.mjs": AGENT });
});
afterAll(async () => {
  await home.close();
  line.close();
  await database.drop();
});

test("a run that was claimed without an answer is taken up; one whose step was committed without one goes on, once", async () => {
  const all = [
    ["the claim", "preparing"],
    ["the way to the agent", "building"],
    ["the way out", "publishing"],
    ["the end", "completed"],
  ] as const;
  for (const [name, word] of process.env["RUNYARD_TEST_FULL"] ? all : all.slice(0, 2)) {
    const task = `Lost at ${name}`;
    const before = cuts;
    wanted = [task, word];
    // What every answer about the run has in it: its terms.
    const { id } = await server.client.runs.create({
      task: "Be lost",
      context: { name: task },
      repositoryUrl,
      agent: { command: ["node", "agent.mjs"] },
    });
    expect(await server.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 1 });
    expect(cuts).toBe(before + 1);
    const { data } = (await (
      await fetch(new URL(`/v1/agent-runs/${id}/events?limit=1000`, server.url), { headers: { authorization: `Bearer ${server.token}` } })
    ).json()) as { data: { type: string; data: { phase?: string } }[] };
    const facts = data.flatMap(({ type, data: { phase } }) => (/^run\.|^turn\.started|^agent\.started/.test(type) ? [phase ?? type] : []));
    expect(new Set(facts).size).toBe(facts.length);
    expect(facts.at(-1)).toBe("run.completed");
  }
}, 60_000);

test("a run whose end was committed without an answer may be continued at once, and is gone on with once", async () => {
  const before = cuts;
  wanted = ["Lost at its end", "completed"];
  const { id } = await server.client.runs.create({
    task: "Be lost",
    context: { name: "Lost at its end" },
    repositoryUrl,
    agent: { command: ["node", "agent.mjs"] },
  });
  for (let ended = false; !ended;) ended = (await server.client.runs.get(id)).status === "completed";
  await server.client.runs.continue(id, "Again");
  expect(await server.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 2 });
  // Whoever took the second turn up twice is through with both before anybody begins the third.
  await server.client.runs.continue(id, "And again");
  expect(await server.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 3 });
  expect(cuts).toBe(before + 1);
  expect(readFileSync(path.join(home.root, "home/logs/server.log"), "utf8")).not.toContain("was taken from this runner");
}, 60_000);
