// A runner that lives and loses its way to the database for longer than its lease: nothing comes through, nothing is refused.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const LEASE_MS = 2_000;

/** An agent that says a beat every 50 ms until the file that it is told of is there. */
const AGENT = `
import { existsSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
const send = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
const say = (text) => send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") return;
  const timer = setInterval(() => {
    say("beat ");
    if (!existsSync(process.argv[2])) return;
    clearInterval(timer);
    writeFileSync("result.txt", "done");
    send({ id, result: { stopReason: "end_turn" } });
  }, 50);
}).on("close", () => process.exit(0));
`;

/** A line to the database that can swallow everything without a word, as a network does that has lost its way. */
interface Line {
  readonly url: string;
  cut(): void;
  /** What was on its way is lost with its connections; new ones come through. */
  heal(): void;
  close(): void;
}

async function openLine(target: string): Promise<Line> {
  const { hostname, port } = new URL(target);
  const host = decodeURIComponent(hostname);
  const place = host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port: Number(port) };
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((client) => {
    const upstream = connect(place);
    for (const socket of [client, upstream]) sockets.add(socket.on("error", () => undefined).on("close", () => sockets.delete(socket)));
    const end = (): void => void [client.destroy(), upstream.destroy()];
    client.on("data", (data) => void (isCut || upstream.write(data))).on("close", end);
    upstream.on("data", (data) => void (isCut || client.write(data))).on("close", end);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: target.replace(/@[^/]+\//, `@127.0.0.1:${own}/`),
    cut: () => void (isCut = true),
    heal() {
      isCut = false;
      drop();
    },
    close() {
      server.close();
      drop();
    },
  };
}

let database: TestDatabase;
let line: Line;
let api: TestHome;
let served: TestServer;
const homes: TestHome[] = [];

beforeAll(async () => {
  if (!full) return;
  database = await createTestDatabase();
  line = await openLine(database.connectionString);
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
  line?.heal();
  await Promise.all(homes.map((home) => home.close()));
  line?.close();
  await database?.drop();
}, 60_000);

test.skipIf(!full)(
  full ? "its run goes on elsewhere, and what it started ends when it is back" : "a runner that is cut off (npm run test:full)",
  async () => {
    const [, cutOff, other] = homes as [TestHome, TestHome, TestHome];
    await cutOff.up("--role", "runner", "--unsafe-process");
    const repository = makeRepository(api.root, { "agent.mjs": AGENT });
    const go = path.join(api.root, "go");
    const { id } = await served.client.runs.create({
      task: "Beat",
      repositoryUrl: repository,
      agent: { command: ["node", "agent.mjs", go] },
    });
    const first = await agentOf(id, 1);
    line.cut();
    await other.up("--role", "runner", "--unsafe-process");
    const second = await agentOf(id, 2);
    expect(identifyProcess(first)).not.toBeNull();

    line.heal();
    await expect.poll(() => identifyProcess(first), { timeout: 30_000 }).toBeNull();
    const name = readFileSync(path.join(cutOff.root, "home", "runner-id"), "utf8").trim();
    await expect
      .poll(async () => (await served.client.status()).runners.find((runner) => runner.id === name)?.state, { timeout: 30_000 })
      .toBe("alive");
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

/** The process of a run's agent in an attempt, once it has said something. */
async function agentOf(id: string, attempt: number): Promise<number> {
  let pid = 0;
  for await (const event of served.client.runs.events(id, { signal: AbortSignal.timeout(60_000) })) {
    const { type, data, attempt: of } = event as RunEvent;
    if (of === attempt && type === "agent.started") pid = data.pid ?? 0;
    if (of === attempt && type === "message.delta") return pid;
  }
  throw new Error("the run has ended");
}
