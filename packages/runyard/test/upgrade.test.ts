// A newer Runyard takes over what an older one left running: PostgreSQL, gateway, spawner and a run in the
// middle of its turn; or it refuses with the reason.
import { execFileSync } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { controlClient } from "../src/gateway/control-client.ts";
import { homeAt, type Home } from "../src/home.ts";
import { isShimAlive } from "../src/sandbox/run-directory.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { publishedPackages } from "../src/testing/published.ts";
import { type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "an upgrade" : `an upgrade cannot be tested: ${unavailable}`, () => {
  let test_: TestHome;
  let home: Home;
  let model: ScriptedModel;
  let older: string;

  beforeAll(async () => {
    model = await startScriptedModel([
      { say: "First.", run: "echo one" },
      // Under way while the versions change, and longer than the old gateway takes to notice that it is not the newest.
      { say: "Second.", run: "echo two", delayMs: 9_000 },
      { write: ["done.txt", "done\n"] },
      { say: "Done." },
    ]);
    test_ = makeTestHome({ OPENAI_BASE_URL: model.url, RUNYARD_MODEL: "scripted-1" });
    home = homeAt(path.join(test_.root, "home"));
    older = await makeOlderVersion(path.join(test_.root, "older"));
  }, 120_000);
  afterAll(async () => {
    await test_.close();
    await model.close();
  });

  /** What lives in the home, as process ids. */
  async function living(): Promise<{ postgres: string; gateway: number; spawner: string; agent: string }> {
    const run = readdirSync(home.runsDir).sort().at(-1) ?? "";
    const firstWord = (file: string): string => readFileSync(file, "utf8").split(/\s/)[0] ?? "";
    return {
      postgres: firstWord(path.join(home.postgresDir, "data", "postmaster.pid")),
      gateway: (await controlClient(home.gatewayControlSocket).health()).pid,
      spawner: firstWord(path.join(home.spawnerDir, "pid")),
      agent: firstWord(path.join(home.runsDir, run, "1", "steps", "agent", "pid")),
    };
  }

  test("goes on with the run, its agent and the model call that is under way", async () => {
    const before = await test_.upOf(older);
    expect((await before.client.status()).version).toBe("0.0.9");
    const repository = makeRepository(test_.root, { "README.md": "# x\n" });
    const { id } = await before.client.runs.create({ task: "Do it", repositoryUrl: repository });
    for await (const event of before.client.runs.events(id)) if (event.type === "tool.finished") break;
    const old = await living();
    await before.kill();

    const after = await test_.up();
    expect((await after.client.status()).version).not.toBe("0.0.9");
    const now = await living();
    expect({ ...now, gateway: 0, spawner: "" }).toEqual({ ...old, gateway: 0, spawner: "" });
    // Those two are other programs now, and were replaced by theirs.
    expect([now.gateway === old.gateway, now.spawner === old.spawner]).toEqual([false, false]);
    const run = await after.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", attempt: 1, error: null, usage: { modelCalls: 4, failedModelCalls: 0 } });
    const log = await readLog(after.client, id);
    expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
    expect(log.filter((event) => event.type === "agent.started")).toHaveLength(1);
    expect(gitIn(repository, "show", `runyard/${id}:done.txt`)).toBe("done");
    await after.kill();
  }, 120_000);

  fullTest(
    "ends a run that it cannot go on with, and says so",
    async () => {
      const before = await test_.up();
      const repository = makeRepository(test_.root, { "wait.sh": "#!/bin/sh\nexec sleep 86399\n" }, "waiting");
      execFileSync("chmod", ["+x", path.join(repository, "wait.sh")]);
      gitIn(repository, "commit", "--quiet", "--all", "--message", "Executable");
      const { id } = await before.client.runs.create({ task: "Wait", repositoryUrl: repository, agent: { command: ["./wait.sh"] } });
      const agentDir = path.join(home.runsDir, id, "1", "steps", "agent");
      while (!isShimAlive(agentDir)) await new Promise((resolve) => setTimeout(resolve, 20));
      await before.kill();
      await sql(home, "update runyard.runs set state = jsonb_set(state::jsonb, '{format}', '999')::json where id = $1", [id]);

      const after = await test_.up();
      const run = await after.client.runs.waitForEnd(id);
      expect(run).toMatchObject({
        status: "failed",
        error: {
          type: "lost",
          message:
            "Another version of Runyard was at work on this run, in a way that this version cannot go on with. Start the run again, or end runs before a change of version.",
        },
      });
      expect(isShimAlive(agentDir)).toBe(false);
      await after.kill();
    },
    120_000,
  );

  fullTest(
    "is refused the other way round where the database is newer, and leaves everything as it is",
    async () => {
      await sql(home, "insert into runyard.migrations (name, hash) values ('9999_of_the_future.sql', 'x')");
      const refused = await test_.cli(["up", "--port", "0"]);
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(
          "The database is newer than this Runyard (it has the migration 9999_of_the_future.sql): start the Runyard that it was last used with, or a newer one.",
        ) as string,
      });
      await test_.cli(["down"]);
    },
    60_000,
  );
});

async function sql(home: Home, text: string, values: readonly unknown[] = []): Promise<void> {
  const password = readFileSync(path.join(home.postgresDir, "password"), "utf8").trim();
  const host = encodeURIComponent(home.postgresSocketDir);
  const client = new pg.Client({ connectionString: `postgresql://runyard:${password}@${host}:5432/runyard?sslmode=disable` });
  await client.connect();
  await client.query(text, [...values]);
  await client.end();
}

/** This package as published, with another version and with programs that are not quite the same; returns its bin. */
async function makeOlderVersion(dir: string): Promise<string> {
  const modules = path.join(dir, "node_modules");
  mkdirSync(modules, { recursive: true });
  for (const name of readdirSync(path.join(ROOT, "node_modules")).filter((one) => !/^(runyard|@runyard|\..*)$/.test(one)))
    symlinkSync(path.join(ROOT, "node_modules", name), path.join(modules, name));
  cpSync(await publishedPackages(), modules, { recursive: true });
  const runyard = path.join(modules, "runyard");
  const manifest = path.join(runyard, "package.json");
  writeFileSync(manifest, JSON.stringify({ ...(JSON.parse(readFileSync(manifest, "utf8")) as object), version: "0.0.9" }));
  for (const program of ["programs/agent.mjs", "programs/gateway.mjs"]) appendFileSync(path.join(runyard, "dist", program), "\n// older\n");
  for (const program of ["shim.sh", "spawner.sh"]) appendFileSync(path.join(runyard, "dist/sandbox/programs", program), "\n# older\n");
  return path.join(runyard, "bin/runyard.mjs");
}
