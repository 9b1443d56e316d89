// What `runyard up` says: what is missing, what is unsafe, and what lives on when it leaves.
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RunyardClient } from "@runyard/sdk";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { makeRepository, makeTestHome, type TestHome } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const PROGRAM = fileURLToPath(new URL("../bin/runyard.mjs", import.meta.url));
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

let database: TestDatabase;
let home: TestHome;
beforeAll(async () => {
  database = await createTestDatabase();
  home = makeTestHome({ DATABASE_URL: database.connectionString });
});
afterAll(async () => {
  await home.close();
  await database.drop();
});

interface Ready {
  readonly url: string;
  readonly loginUrl: string;
  readonly tokenFile: string;
  readonly pid: number;
}

interface Up {
  readonly ready: Ready;
  /** Ends it as Ctrl-C does; gives what it said on stderr, and its exit code. */
  leave(): Promise<{ said: string; code: number | null; stdout: string }>;
}

async function up(before: readonly string[], ...flags: string[]): Promise<Up> {
  const [program = "", ...words] = [...before, process.execPath, PROGRAM, "up", "--port", "0", "--json", ...flags];
  const child = spawn(program, words, { env: home.env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, said] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (said += data.toString()));
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    void closed.then(() => reject(new Error(`It did not start: ${said}`)));
  });
  const ready = JSON.parse(line) as Ready;
  return {
    ready,
    async leave() {
      process.kill(ready.pid, "SIGINT");
      return { code: await closed, said, stdout };
    },
  };
}

test("without a model it says so; with --unsafe-process it warns; stdout is one line of JSON", async () => {
  const server = await up([], "--unsafe-process");
  expect(server.ready).toMatchObject({ url: expect.stringMatching(/^http:/), loginUrl: expect.stringContaining("/login?") });
  const { said, code, stdout } = await server.leave();
  expect(code).toBe(0);
  expect(stdout.trim().split("\n")).toHaveLength(1);
  expect(said).toMatch(/model +none is connected: set OPENAI_BASE_URL/);
  expect(said).toMatch(/UNSAFE +agents run WITHOUT isolation/);
  expect(said).toContain("Nothing is left running");
}, 60_000);

test("a port that is taken ends the start with a plain error", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as AddressInfo;
  const refused = await home.cli(["up", "--port", String(port), "--json"]);
  taken.close();
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toMatch(/error: Port \d+ on 127\.0\.0\.1 is in use by another program\.\n {2}Choose another one with --port/);
}, 60_000);

describe.skipIf(unavailable !== null)(unavailable === null ? "with bwrap" : `with bwrap cannot be tested: ${unavailable}`, () => {
  test("where a sandbox cannot be made, it says so before the first run meets it", async () => {
    const socat = execFileSync("which", ["socat"], { encoding: "utf8" }).trim();
    const server = await up(["bwrap", "--dev-bind", "/", "/", "--bind", "/dev/null", socat, "--"], "--simulate");
    const { said } = await server.leave();
    expect(said).toMatch(/UNSAFE +agents cannot be isolated here, so runs are refused\. socat is not installed/);
    expect(said).toContain("--unsafe-process");
  }, 60_000);

  fullTest(
    "with a run in flight it says what lives on, and how to go on with it or end it",
    async () => {
      const server = await up([], "--simulate");
      const client = new RunyardClient({ baseUrl: server.ready.url, token: readFileSync(server.ready.tokenFile, "utf8").trim() });
      const repository = makeRepository(home.root, { "package.json": '{"name":"runyard-demo-slug"}' });
      const { id } = await client.runs.create({ task: "x", repositoryUrl: repository, permissionPolicy: { ask: ["execute"] } });
      for await (const event of client.runs.events(id)) if (event.type === "permission.requested") break;
      const { said, code } = await server.leave();
      expect(code).toBe(0);
      expect(said).toContain("1 run and what they need live on");
      expect(said).toMatch(/runyard up {5}goes on/);
      expect(said).not.toContain("UNSAFE");
      expect(await home.cli(["down", "--json"])).toMatchObject({ code: 0, stdout: expect.stringContaining('"killedRuns": 1') });
    },
    60_000,
  );
});
