// kill -9 of `runyard up` in the middle of a run, on the embedded database: the run goes on with the same
// agent, and its log has no gap and no double.
import { cpSync, existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../src/process-identity.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const SAMPLE = fileURLToPath(new URL("../assets/demo-repository", import.meta.url));

describe.skipIf(unavailable !== null)(
  unavailable === null ? "a server that is killed" : `a server that is killed cannot be tested: ${unavailable}`,
  () => {
    let home: TestHome;
    beforeAll(() => {
      home = makeTestHome();
    });
    afterAll(() => home.close());

    test("leaves its agents at work, and the next one goes on in the middle of the turn", async () => {
      const repository = makeRepository(home.root, { ".gitkeep": "" }, "slug");
      cpSync(SAMPLE, repository, { recursive: true });
      gitIn(repository, "add", "--all");
      gitIn(repository, "commit", "--quiet", "--message", "A failing test");

      const first = await home.up("--simulate");
      const { id } = await first.client.runs.create({ task: "The test suite fails. Fix it.", repositoryUrl: repository });
      const seen: RunEvent[] = [];
      for await (const event of first.client.runs.events(id)) {
        seen.push(event as RunEvent);
        if (event.type === "tool.finished" && seen.some((one) => one.type === "agent.started")) break;
      }
      const started = seen.find((event) => event.type === "agent.started");
      const pid = started?.data.pid ?? 0;
      const shimPid = (): string => readFileSync(path.join(home.root, "home", "runs", id, "1", "steps", "agent", "pid"), "utf8");
      const before = shimPid();
      await first.kill();
      expect(identifyProcess(pid)).not.toBeNull();

      const second = await home.up("--simulate");
      expect(second.pid).not.toBe(first.pid);
      const run = await second.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", attempt: 1, simulated: true, error: null, usage: { failedModelCalls: 0 } });
      expect(shimPid()).toBe(before);

      const log = await readLog(second.client, id);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
      expect(log.slice(0, seen.length)).toEqual(seen);
      expect(log.filter((event) => event.type === "agent.started")).toHaveLength(1);
      const exits = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data.exitCode] : []));
      expect(exits).toEqual([1, 0]);
      expect(gitIn(repository, "diff", "--stat", "HEAD", `runyard/${id}`)).toContain("src/slug.js");
    }, 120_000);

    test("a second server for the same home is refused with a plain message, by the one that runs", async () => {
      const refused = await home.cli(["up", "--port", "0"]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("Runyard is already running");
      expect(refused.stderr).toContain("runyard down");
    }, 60_000);

    fullTest(
      "a start that fails leaves nothing running",
      async () => {
        const other = makeTestHome();
        const taken = new URL((await home.cli(["status", "--json"]).then((status) => JSON.parse(status.stdout) as { url: string })).url)
          .port;
        const refused = await other.cli(["up", "--port", taken]);
        expect(refused.code).toBe(1);
        expect(refused.stderr).toContain(taken);
        expect(existsSync(path.join(other.root, "home", "postgres", "data", "postmaster.pid"))).toBe(false);
        const gateway = JSON.parse(readFileSync(path.join(other.root, "home", "gateway", "gateway.json"), "utf8")) as { pid: number };
        expect(identifyProcess(gateway.pid)).toBeNull();
        await other.close();
      },
      60_000,
    );

    test("`down` ends runs, server, gateway and PostgreSQL", async () => {
      const down = await home.cli(["down", "--json"]);
      expect(down).toMatchObject({ code: 0 });
      expect(JSON.parse(down.stdout)).toMatchObject({ cancelledRuns: 0 });
      for (const file of ["postgres/data/postmaster.pid", "server.json"])
        expect(existsSync(path.join(home.root, "home", file))).toBe(false);
      const again = await home.cli(["down"]);
      expect(again).toMatchObject({ code: 0 });
      expect(again.stderr).toContain("Nothing was running");
    }, 60_000);
  },
);
