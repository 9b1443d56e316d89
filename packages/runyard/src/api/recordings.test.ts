import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { RunyardClient } from "@runyard/sdk";
import { exchangeDetailSchema, exchangeListSchema } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRecordings } from "../gateway/recordings.ts";
import { LONG_BYTES, plantRecording } from "../gateway/testing/recording.ts";
import { serve, type Served } from "./testing/served.ts";

// What the gateway wrote down, from its files to the client: real files, engine, database and sockets.
const gatewayDir = mkdtempSync(path.join(tmpdir(), "ry-recordings-"));
let served: Served;
let client: RunyardClient;

beforeAll(async () => {
  served = await serve({ recordings: { runnerId: "runner", ...openRecordings(gatewayDir) } });
  client = served.client;
});
afterAll(async () => {
  await served?.close();
  rmSync(gatewayDir, { recursive: true, force: true });
});

/** A run that was claimed at this machine's runner, with a recording of three calls: whole, long and torn, and without an end. */
async function recordedRun(): Promise<string> {
  const { id } = await client.runs.create({ task: "Fix it", repositoryUrl: "/repository" });
  await served.complete(await served.claim(id));
  plantRecording(gatewayDir, id);
  return id;
}

const get = (url: string, token = "token-a"): Promise<Response> =>
  fetch(`${served.door.url}${url}`, { headers: { authorization: `Bearer ${token}` } });

describe("a recording", () => {
  test("comes as a list, also where its end is torn", async () => {
    const id = await recordedRun();
    const { data, elsewhere } = exchangeListSchema.parse(await client.runs.exchanges(id));
    expect(elsewhere).toEqual([]);
    expect(data).toMatchObject([
      { id: "1-ab", number: 1, provider: "openai", model: "m", status: 200, ok: true, inputTokens: 10, durationMs: 30 },
      { id: "2-ab", number: 2, ok: true },
      { id: "3-ab", number: 3, status: null, ok: null, complete: null, inputTokens: null, durationMs: null, error: null },
    ]);
  });

  test("comes call by call, with what is not whole said and what is long cut", async () => {
    const id = await recordedRun();
    const calls = await Promise.all(
      ["1-ab", "2-ab", "3-ab"].map(async (xid) => exchangeDetailSchema.parse(await client.runs.exchange(id, xid))),
    );
    expect(calls[0]).toMatchObject({
      headers: { "content-type": "application/json" },
      request: { state: "whole", bytes: 19, json: { model: "runyard" }, text: null, truncated: false },
      response: { state: "whole", json: { choices: ["<script>alert(1)</script>"] } },
    });
    expect(calls[1]).toMatchObject({
      request: { state: "whole", json: null, text: "no JSON" },
      response: { state: "torn", bytes: LONG_BYTES, truncated: true },
    });
    // The cut goes through a character, which is left out.
    expect(calls[1]?.response.text).toMatch(/^data: ü+$/);
    expect(calls[2]).toMatchObject({ headers: null, request: { state: "missing", bytes: 0, text: "" }, response: { state: "missing" } });
  });

  test("comes byte for byte, is saved by browsers and never shown", async () => {
    const id = await recordedRun();
    const response = await get(`/v1/agent-runs/${id}/exchanges/1-ab/response`);
    expect(await response.text()).toBe('{"choices":["<script>alert(1)</script>"]}');
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename="${id}-1-ab.response"`,
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    });
    expect((await client.runs.exchangeBytes(id, "2-ab", "response")).byteLength).toBe(LONG_BYTES);
    await expect(client.runs.exchangeBytes(id, "3-ab", "request")).rejects.toMatchObject({ status: 404, code: "exchange_not_found" });
  });

  test("has no other calls, and belongs to its organization", async () => {
    const id = await recordedRun();
    for (const xid of ["4-ab", "x", "1-ab%2e", "..%2f..%2fgateway"]) {
      const response = await get(`/v1/agent-runs/${id}/exchanges/${xid}`);
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([404, "exchange_not_found"]);
    }
    for (const rest of ["", "/1-ab", "/1-ab/request", "/1-ab/response"])
      expect((await get(`/v1/agent-runs/${id}/exchanges${rest}`, "token-b")).status).toBe(404);
  });

  test("is empty for a run that asked nothing", async () => {
    const { id } = await client.runs.create({ task: "Fix it", repositoryUrl: "/repository" });
    expect(await client.runs.exchanges(id)).toEqual({ data: [], elsewhere: [] });
    await served.complete(await served.claim(id));
    expect(await client.runs.exchanges(id)).toEqual({ data: [], elsewhere: [] });
    await expect(client.runs.replay(id)).rejects.toMatchObject({ status: 409, code: "nothing_recorded" });
  });
});

describe("on a server that does not hold it, a recording", () => {
  let away: Served;
  beforeAll(async () => {
    away = await serve();
  });
  afterAll(() => away?.close());

  test("is said to be with its runner", async () => {
    const { id } = await away.client.runs.create({ task: "Fix it", repositoryUrl: "/repository" });
    await expect(away.client.runs.replay(id)).rejects.toMatchObject({ code: "run_not_ended" });
    await away.complete(await away.claim(id));
    const runs = away.client.runs;
    const asks = [
      () => runs.exchanges(id),
      () => runs.exchange(id, "1-ab"),
      () => runs.exchangeBytes(id, "1-ab", "request"),
      () => runs.replay(id),
    ];
    for (const ask of asks)
      await expect(ask()).rejects.toMatchObject({
        status: 409,
        code: "recording_not_here",
        message: expect.stringContaining("on the machine of runner,") as string,
      });
  });
});

test("a replay is the same run again, for the runner that has the recording, and is not continued", async () => {
  const id = await recordedRun();
  const replay = await client.runs.replay(id);
  expect(replay).toMatchObject({
    status: "pending",
    task: "Fix it",
    replayOf: id,
    replay: { of: id, turn: 1, turns: 1, exchanges: 3, divergence: null, sameResult: null },
    usage: { totalCost: 0, inputTokens: null },
  });
  const rows = await served.database.db.queryInOrganization<{ only_runner: string }>(
    "org_a",
    "select only_runner from runyard.runs where id = $1",
    [replay.id],
  );
  expect(rows).toEqual([{ only_runner: "runner" }]);
  await served.complete(await served.claim(replay.id));
  await expect(client.runs.continue(replay.id, "Go on")).rejects.toMatchObject({ status: 409, code: "not_for_replays" });
  await expect(served.client.runs.replay("run_01k00000000000000000000009")).rejects.toMatchObject({ status: 404, code: "run_not_found" });
});

test("a replay costs nothing, so that nobody is asked about it", async () => {
  const run = await client.runs.create({ task: "Fix it", repositoryUrl: "/repository", settings: { approvalAboveUsd: 0 } });
  expect(run).toMatchObject({ status: "awaiting_input" });
  await client.runs.approve(run.id);
  await served.complete(await served.claim(run.id));
  plantRecording(gatewayDir, run.id);
  expect(await client.runs.replay(run.id)).toMatchObject({ status: "pending", waitingFor: [], replayOf: run.id });
});

test("a run that reached out of its sandbox by MCP is not replayed", async () => {
  const mcpServers = [{ name: "tickets", url: "http://127.0.0.1:9/mcp" }];
  const { id } = await client.runs.create({ task: "Fix it", repositoryUrl: "/repository", mcpServers });
  await served.complete(await served.claim(id));
  plantRecording(gatewayDir, id);
  await expect(client.runs.replay(id)).rejects.toMatchObject({
    status: 409,
    code: "not_for_replays",
    message: expect.stringContaining("MCP servers over HTTP (tickets)") as string,
  });
});
