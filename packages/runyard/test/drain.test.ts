// A server that is asked to stop: its runs live on, are waited for, or end.
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseOnStop, parseStopTimeout } from "../src/configuration.ts";
import { cancelRun, findRun } from "../src/store/runs.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);

/** An agent that ends its turn once there is the file that it was told of. */
const PATIENT = `#!/bin/sh
while IFS= read -r line; do
  id=\${line#*\\"id\\":}
  id=\${id%%,*}
  case $line in
  *'"method":"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":1,"agentCapabilities":{}}}' ;;
  *'"method":"session/new"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"sessionId":"s1"}}' ;;
  *'"method":"session/prompt"'*)
    until [ -e "$1" ]; do sleep 0.05; done
    echo '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"ok"}}}}'
    echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"stopReason":"end_turn"}}'
    ;;
  esac
done
`;

describe("a server that is to stop", () => {
  let database: TestDatabase;
  let home: TestHome;
  let repository: string;
  /** The file that lets every agent end its turn. */
  let go: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString });
    repository = makeRepository(home.root, { "agent.sh": PATIENT });
    go = path.join(home.root, "go");
  });
  beforeEach(() => rmSync(go, { force: true }));
  afterAll(async () => {
    await home.close();
    await database.drop();
  });

  async function create(server: TestServer): Promise<string> {
    const { id } = await server.client.runs.create({
      task: "Wait",
      repositoryUrl: repository,
      agent: { command: ["/bin/sh", "agent.sh", go] },
      permissionPolicy: { ask: [], deny: [] },
      settings: { sandboxDriver: "process" },
    });
    return id;
  }

  /** A server with one run in hand, whose agent has its task. */
  async function serveOne(...flags: string[]): Promise<{ server: TestServer; id: string }> {
    const server = await home.up(...flags);
    const id = await create(server);
    for await (const event of server.client.runs.events(id)) if (event.type === "agent.started") break;
    return { server, id };
  }

  const isAlive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  async function expectGone({ pid }: TestServer): Promise<void> {
    await expect.poll(() => isAlive(pid)).toBe(false);
  }
  async function expectDraining({ client }: TestServer): Promise<void> {
    await expect.poll(async () => (await client.status()).draining).toBe(true);
  }
  const runOf = async (id: string) => (await findRun(database.db, "org_home", id))?.run;

  test("with --on-stop stop begins nothing more, waits for its run, and says so", async () => {
    const { server, id } = await serveOne("--on-stop", "stop");
    expect((await fetch(new URL("/readyz", server.url))).status).toBe(200);
    process.kill(server.pid, "SIGTERM");
    await expectDraining(server);
    const readyz = await fetch(new URL("/readyz", server.url));
    expect(readyz.status).toBe(503);
    expect(await readyz.json()).toMatchObject({
      code: "unavailable",
      checks: expect.arrayContaining([
        { name: "database", state: "ok", reason: null },
        { name: "server", state: "failed", reason: expect.stringContaining("draining") as string },
      ]) as unknown[],
    });
    expect((await fetch(new URL("/livez", server.url))).status).toBe(200);
    expect(await home.cli(["status"])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^draining at .*1 running/s) as string });
    // What is asked for now is kept, and waits for the next server.
    const later = await create(server);
    expect(await server.client.runs.get(later)).toMatchObject({ status: "pending", queuePosition: 1 });
    writeFileSync(go, "");
    await expectGone(server);
    expect(server.said()).toContain("Draining: 1 run in hand may end, at most 10 min 0 s. New ones stay queued.");
    expect(server.said()).toContain("Nothing is left running.");
    expect(await runOf(id)).toMatchObject({ status: "completed", attempt: 1 });
    expect(await runOf(later)).toMatchObject({ status: "pending", attempt: 0 });
    await cancelQueued(later);
  }, 60_000);

  test.skipIf(!full)(
    "waits for so long and no longer, and not at all when it is asked again: its run lives on; `down --drain` waits as well",
    async () => {
      const { server: first, id } = await serveOne("--on-stop", "stop", "--stop-timeout", "1");
      process.kill(first.pid, "SIGTERM");
      await expectGone(first);
      expect(first.said()).toContain("1 run and what they need live on");

      const second = await home.up("--on-stop", "stop");
      process.kill(second.pid, "SIGTERM");
      await expectDraining(second);
      process.kill(second.pid, "SIGINT");
      await expectGone(second);
      expect(second.said()).toContain("1 run and what they need live on");
      expect(await runOf(id)).toMatchObject({ status: "running", attempt: 1 });

      const third = await home.up();
      const down = home.cli(["down", "--drain", "--json"]);
      await expectDraining(third);
      expect(await runOf(id)).toMatchObject({ status: "running" });
      writeFileSync(go, "");
      expect(JSON.parse((await down).stdout)).toEqual({ server: third.pid, drained: true, cancelledRuns: 0, killedRuns: 0 });
      expect(isAlive(third.pid)).toBe(false);
      expect(await runOf(id)).toMatchObject({ status: "completed", attempt: 1 });
    },
    60_000,
  );

  fullTest(
    "with --on-stop kill ends its run, with the reason in its log",
    async () => {
      const { server, id } = await serveOne("--on-stop", "kill");
      process.kill(server.pid, "SIGTERM");
      await expectGone(server);
      expect(server.said()).toContain("Ending 1 run…");
      expect(server.said()).toContain("Nothing is left running.");
      expect(await runOf(id)).toMatchObject({ status: "cancelled", cancel_reason: "The server was stopped" });
    },
    60_000,
  );

  test.skipIf(!full)(
    `by \`down --drain\` cancels what has not ended in time${full ? "" : " (npm run test:full)"}`,
    async () => {
      const { server, id } = await serveOne();
      const { stdout, stderr } = await home.cli(["down", "--drain", "--timeout", "1", "--json"]);
      expect(JSON.parse(stdout)).toEqual({ server: server.pid, drained: false, cancelledRuns: 1, killedRuns: 0 });
      expect(stderr).toContain("Not all have, so they are cancelled.");
      expect(await runOf(id)).toMatchObject({ status: "cancelled" });
    },
    60_000,
  );

  test("takes no other words for it", async () => {
    expect(() => parseOnStop("wait")).toThrow('What to do on a stop must be one of leave, stop, kill: got "wait"');
    for (const text of ["0", "86401", "soon", "1.5", ""])
      expect(() => parseStopTimeout(text)).toThrow("must be a number of seconds from 1 to 86400");
    expect(parseStopTimeout("86400")).toBe(86_400);
    expect(await home.cli(["down", "--timeout", "5"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--timeout says how long --drain waits.") as string,
    });
  });

  async function cancelQueued(id: string): Promise<void> {
    await cancelRun(database.db, { orgId: "org_home", runId: id, reason: "x", events: [] });
  }
});
