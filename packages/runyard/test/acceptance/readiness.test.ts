// What `/readyz` says of a server whose database or gateway does not answer, or whose clock moves under it; and that
// nothing is promised meanwhile which is not kept. The rows stand in docs/acceptance.md.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ReadinessCheck } from "@runyard/sdk/contract";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, databaseIn, type TestDatabase, withDatabase } from "../../src/testing/database.ts";
import { makeRepository, makeTestHome, type TestHome } from "../../src/testing/server.ts";
import { movableClock, removeHome, type Serving, serve } from "./place.ts";

const HOUR_MS = 3_600_000;

describe.skipIf(process.platform !== "linux")("readyz", () => {
  let database: TestDatabase;
  let home: TestHome;
  let server: Serving;
  let clock: string;
  let repository: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString });
    clock = path.join(home.root, "clock");
    repository = makeRepository(home.root, { "README.md": "# x\n" });
    server = await serve(home, ["--unsafe-process"], { env: movableClock(clock) });
  });
  afterAll(async () => {
    await server.leave();
    await removeHome(home);
    await database.drop();
  });

  /** The status, and what is wrong by name; what the test machine's own disk is like does not matter. */
  async function readyz(): Promise<{ status: number; wrong: Record<string, Pick<ReadinessCheck, "state" | "reason">> }> {
    const response = await fetch(new URL("/readyz", server.url));
    const { checks } = (await response.json()) as { checks: ReadinessCheck[] };
    const wrong = checks.filter(({ name, state }) => state !== "ok" && name !== "disk");
    return { status: response.status, wrong: Object.fromEntries(wrong.map(({ name, ...rest }) => [name, rest])) };
  }
  const ready = { status: 200, wrong: {} };
  const unready = (name: string, reason: string) => ({ status: 503, wrong: { [name]: { state: "failed", reason } } });
  const create = (command: readonly string[], timeout = 60_000) =>
    server.client.runs.create(
      { task: "x", repositoryUrl: repository, agent: { command: [...command] }, settings: { timeout } },
      { maxRetries: 0 },
    );
  const countOfRuns = async (): Promise<number> => (await server.client.runs.list({ limit: 100 })).data.length;

  test("says that the gateway does not answer, and that it does again", async () => {
    expect(await readyz()).toEqual(ready);
    const { pid } = JSON.parse(readFileSync(path.join(home.root, "home", "gateway", "gateway.json"), "utf8")) as { pid: number };
    process.kill(pid, "SIGSTOP");
    try {
      expect(await readyz()).toEqual(unready("gateway", "The gateway does not answer."));
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await expect.poll(readyz).toEqual(ready);
    // Another one takes its place unaided.
    process.kill(pid, "SIGKILL");
    await expect.poll(readyz).toEqual(ready);
  }, 60_000);

  test("says that the database is away; nothing is acknowledged until it is back, and then all goes on", async () => {
    const runs = await countOfRuns();
    const waiting = await create(["sh", "-c", "exec sleep 86397"]);
    for await (const event of server.client.runs.events(waiting.id)) if (event.type === "sandbox.ready") break;
    const name = databaseIn(database.connectionString);
    await asAdmin(async (admin) => {
      await admin.query(`alter database ${name} allow_connections false`);
      await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name]);
    });
    await expect.poll(readyz).toEqual(unready("database", "The database does not answer."));
    for (let tries = 0; tries < 5; tries += 1) await expect(create(["true"])).rejects.toMatchObject({ status: 503, code: "unavailable" });
    await asAdmin((admin) => admin.query(`alter database ${name} allow_connections true`));
    await expect.poll(readyz).toEqual(ready);
    expect(await countOfRuns()).toBe(runs + 1);
    expect(await server.client.runs.cancel(waiting.id)).toMatchObject({ cancelRequested: true });
    expect(await server.client.runs.waitForEnd(waiting.id)).toMatchObject({ status: "cancelled", attempt: 1 });
  }, 60_000);

  test("warns of a clock that has moved; runs have the time that they should, and their logs end", async () => {
    const long = await create(["sh", "-c", "exec sleep 86396"]);
    const short = await create(["sh", "-c", "exec sleep 86395"], 4_000);
    for (const { id } of [long, short]) for await (const event of server.client.runs.events(id)) if (event.type === "sandbox.ready") break;
    for (const [moved, reason] of [
      [HOUR_MS, "The server's clock is 3600 s ahead of the database's."],
      [-HOUR_MS, "The server's clock is 3600 s behind the database's."],
    ] as const) {
      writeFileSync(clock, String(moved));
      await expect.poll(readyz).toEqual({ status: 200, wrong: { clock: { state: "warning", reason } } });
      await sleep(500);
      expect(await server.client.runs.get(long.id)).toMatchObject({ status: "running" });
    }
    expect(await server.client.runs.waitForEnd(short.id)).toMatchObject({ status: "timeout" });
    writeFileSync(clock, "0");
    await expect.poll(readyz).toEqual(ready);
    await server.client.runs.cancel(long.id);
    expect(await server.client.runs.waitForEnd(long.id)).toMatchObject({ status: "cancelled" });
  }, 60_000);

  async function asAdmin(work: (admin: pg.Client) => Promise<unknown>): Promise<void> {
    const admin = new pg.Client({ connectionString: withDatabase(database.connectionString, "postgres") });
    await admin.connect();
    try {
      await work(admin);
    } finally {
      await admin.end();
    }
  }
});
