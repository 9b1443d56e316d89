import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";
import { RunyardClient } from "@runyard/sdk";
import {
  fileListSchema,
  type LogEntry,
  logPageSchema,
  modelListSchema,
  type NewEvent,
  runDiffSchema,
  runMetricsSchema,
  runUsageSchema,
  serverStatusSchema,
} from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NO_USAGE } from "../core/usage.ts";
import { addSample } from "../store/metrics.ts";
import { commitStep } from "../store/runs.ts";
import { bundleOf } from "../git/bundle.ts";
import { changedFiles, diffFiles } from "../git/changed-files.ts";
import { patch } from "../git/diff.ts";
import { readCommittedFile } from "../git/read-file.ts";
import { type GitLab, openGitLab, plainGit, plainGitMayFail, writeFiles } from "../git/testing/lab.ts";
import { serve, type Served } from "./testing/served.ts";

// What a run made, from its repository to the client: real git, engine, database and sockets.
const MAX_FILE_BYTES = 10_000;
const binary = randomBytes(5_000);
let lab: GitLab;
let served: Served;
let client: RunyardClient;
let repository: string;
let base: string;
let head: string;
let maxBundleBytes = 1 << 20;

beforeAll(async () => {
  lab = await openGitLab();
  repository = lab.newRepository({ "src/a.ts": "one\n", "kept.txt": "kept\n", "big.bin": randomBytes(MAX_FILE_BYTES + 1) });
  writeFiles(repository, { "src/a.ts": "two\n", "über uns/50%.html": "<script>alert(1)</script>", "data.bin": binary });
  plainGit(repository, "add", "--all");
  plainGit(repository, "commit", "--quiet", "--message", "Second");
  [base = "", head = ""] = ["HEAD~1", "HEAD"].map((name) => plainGit(repository, "rev-parse", name).trim());
  const cachePath = path.join(repository, ".git");
  const { host } = lab;
  served = await serve({
    inspectRepository: async (url) => ({ root: url, branch: "main", commit: base, notices: [] }),
    changes: {
      patch: (change) => patch(host, { ...change, cachePath, maxBytes: 1 << 20 }),
      files: (change) => changedFiles(host, { ...change, cachePath }),
      diff: (change) => diffFiles(host, { ...change, cachePath, maxBytes: 1 << 20 }),
      file: (place) => readCommittedFile(host, { ...place, cachePath, maxBytes: MAX_FILE_BYTES }),
      bundle: (change) => bundleOf(host, { ...change, cachePath, maxBytes: maxBundleBytes }),
    },
  });
  client = served.client;
});
afterAll(async () => {
  await served?.close();
  await lab?.close();
});

const create = () => client.runs.create({ task: "Fix it", repositoryUrl: repository });

/** A run that ended with the change between the two commits. */
async function ended(): Promise<string> {
  const { id } = await create();
  await served.complete(await served.claim(id), { headBranch: "runyard/x", headCommit: head, baseCommit: base });
  return id;
}

const get = (url: string, headers: Record<string, string> = {}) =>
  fetch(`${served.door.url}${url}`, { headers: { authorization: "Bearer token-a", ...headers } });

/** A path as it is: `fetch` would tidy it up. */
async function rawGet(port: number, target: string): Promise<{ status?: number; type?: string; body: string }> {
  const asked = request({ host: "127.0.0.1", port, path: target, headers: { authorization: "Bearer token-a" } }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  const { statusCode: status, headers } = response;
  return { ...(status && { status }), ...(headers["content-type"] && { type: headers["content-type"] }), body: await text(response) };
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

describe("what a run changed", () => {
  test("comes as files, as a diff and as a patch", async () => {
    const id = await ended();
    const { data } = fileListSchema.parse(await client.runs.files(id));
    expect(data.map(({ path: name, status }) => [name, status])).toEqual([
      ["data.bin", "added"],
      ["src/a.ts", "modified"],
      ["über uns/50%.html", "added"],
    ]);
    const diff = runDiffSchema.parse(await client.runs.diff(id));
    expect(diff).toMatchObject({ baseCommit: base, headCommit: head, truncated: false });
    expect(diff.files[1]).toMatchObject({ path: "src/a.ts", insertions: 1, deletions: 1, size: 4, hunks: "@@ -1 +1 @@\n-one\n+two\n" });
    expect(diff.files[0]).toMatchObject({ path: "data.bin", hunks: null });
    expect(await client.runs.patch(id)).toContain("diff --git a/src/a.ts b/src/a.ts");
  });

  test("comes as a bundle of the very same commits, which takes what the run started from", async () => {
    const id = await ended();
    const file = lab.newPath("fetched.bundle");
    writeFileSync(file, "");
    for await (const piece of client.runs.bundle(id)) appendFileSync(file, piece);
    const clone = lab.newPath("clone");
    plainGit(repository, "clone", "--quiet", "--bare", repository, clone);
    plainGit(clone, "update-ref", "-d", "HEAD");
    plainGit(clone, "gc", "--quiet", "--prune=now");
    expect(plainGit(clone, "bundle", "list-heads", file)).toBe(`${head} refs/heads/runyard/x\n`);
    expect(plainGitMayFail(clone, "fetch", file, "runyard/x").stderr).toContain(base);
    plainGit(clone, "fetch", "--quiet", repository, base);
    plainGit(clone, "fetch", "--quiet", file, "runyard/x:taken");
    expect(plainGit(clone, "rev-parse", "taken").trim()).toBe(head);
    expect(await readdir(lab.host.stepsDir)).toEqual(["git-home"]);
    const whole = await get(`/v1/agent-runs/${id}/bundle`);
    expect(whole.headers.get("content-disposition")).toBe(`attachment; filename="${id}.bundle"`);
    expect((await whole.arrayBuffer()).byteLength).toBe(readFileSync(file).length);
  });

  test("is no bundle where it is too large, or where there is none", async () => {
    const id = await ended();
    maxBundleBytes = 100;
    await expect(bytesOf(client.runs.bundle(id))).rejects.toMatchObject({ code: "file_too_large", status: 422 });
    maxBundleBytes = 1 << 20;
    const { id: pending } = await create();
    await expect(bytesOf(client.runs.bundle(pending))).rejects.toMatchObject({ code: "no_result", status: 409 });
    expect((await served.ask("GET", `/agent-runs/${id}/bundle`, { token: "token-b" })).status).toBe(404);
    expect((await served.ask("GET", `/agent-runs/${id}/bundle`, { token: "wrong" })).status).toBe(401);
  });

  test("is nothing while there is no result", async () => {
    const { id } = await create();
    expect(await client.runs.files(id)).toEqual({ data: [] });
    expect(await client.runs.diff(id)).toEqual({ baseCommit: base, headCommit: null, files: [], truncated: false });
    expect(await client.runs.patch(id)).toBe("");
    expect(Buffer.from(await client.runs.file(id, "src/a.ts")).toString()).toBe("one\n");
  });
});

test("what a run used comes by turn, by model and by call, from its log", async () => {
  const { id } = await create();
  const none = await client.runs.usage(id);
  expect(runUsageSchema.parse(none)).toMatchObject({ runId: id, simulated: false, total: { modelCalls: 0, costUsd: null }, calls: [] });
  const run = await served.claim(id);
  const usage = {
    ...NO_USAGE,
    inputTokens: 100,
    outputTokens: 10,
    modelCalls: 2,
    failedModelCalls: 1,
    costNanoUsd: 350_000,
    unpricedCalls: 1,
  };
  const tokens = { inputTokens: 100, outputTokens: 10, cachedInputTokens: null, cacheWriteTokens: null, reasoningTokens: null };
  const call = {
    exchangeId: "1-ab",
    provider: "openai",
    model: "gpt-4o",
    ...tokens,
    costUsd: 0.00035,
    durationMs: 7,
    status: 200,
    ok: true,
  };
  const broken = { ...call, exchangeId: "2-ab", inputTokens: null, outputTokens: null, costUsd: null, status: null, ok: false };
  const data = {
    source: "gateway" as const,
    ...tokens,
    modelCalls: 2,
    failedModelCalls: 1,
    costUsd: 0.00035,
    unpricedCalls: 1,
    calls: [call, broken],
  };
  await commitStep(served.database.db, { run, events: [{ type: "usage.updated", data }], change: { usage } });
  const found = runUsageSchema.parse(await client.runs.usage(id));
  expect(found.total).toMatchObject({ inputTokens: 100, costUsd: 0.00035, unpricedCalls: 1 });
  expect(found.turns).toMatchObject([{ turn: 1, modelCalls: 2, costUsd: 0.00035, unpricedCalls: 1 }]);
  expect(found.models).toMatchObject([{ provider: "openai", model: "gpt-4o", modelCalls: 2, failedModelCalls: 1 }]);
  expect(found.calls).toMatchObject([
    { ...call, turn: 1, attempt: 1 },
    { ...broken, turn: 1, attempt: 1 },
  ]);
  // One call without a known cost: what the run cost is not known, only what is known of it.
  expect((await client.runs.get(id)).usage).toMatchObject({ totalCost: null, pricedCost: 0.00035, unpricedCalls: 1, tokensUsed: 110 });
  await served.complete(run);
});

test("what a run used of its machine comes with its samples, from whoever has it in hand", async () => {
  const { id } = await create();
  const none = runMetricsSchema.parse(await client.runs.metrics(id));
  expect(none).toMatchObject({ runId: id, data: [], totals: { cpuMs: null }, peaks: { memoryBytes: null, diskBytes: null } });
  const run = await served.claim(id);
  const figures = { cpuMs: 1_500, memoryBytes: 10, memoryPeakBytes: 20, processes: 3, threads: 4, diskBytes: null };
  await addSample(served.database.db, { run, step: "agent", figures });
  const found = runMetricsSchema.parse(await client.runs.metrics(id));
  expect(found.data).toMatchObject([{ turn: 1, attempt: 1, step: "agent", ...figures }]);
  expect(found.totals).toEqual({ cpuMs: 1_500 });
  expect(found.peaks).toEqual({ memoryBytes: 20, processes: 3, threads: 4, diskBytes: null });
  expect(await served.ask("GET", `/agent-runs/${id}/metrics`, { token: "token-b" })).toMatchObject({ status: 404 });
  await served.complete(run);
});

describe("a file", () => {
  test("comes byte by byte, changed or not, whatever its name", async () => {
    const id = await ended();
    expect(Buffer.from(await client.runs.file(id, "data.bin"))).toEqual(binary);
    expect(Buffer.from(await client.runs.file(id, "src/a.ts")).toString()).toBe("two\n");
    expect(Buffer.from(await client.runs.file(id, "kept.txt")).toString()).toBe("kept\n");
    expect(Buffer.from(await client.runs.file(id, "über uns/50%.html")).toString()).toBe("<script>alert(1)</script>");
  });

  test("is saved by browsers, never shown", async () => {
    const id = await ended();
    const response = await get(`/v1/agent-runs/${id}/files/%C3%BCber%20uns/50%25.html`, { accept: "text/html" });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": "attachment; filename=\"50_.html\"; filename*=UTF-8''50%25.html",
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    });
  });

  test("that is none, a folder, or too large is refused", async () => {
    const id = await ended();
    for (const name of ["nothing.txt", "src", "SRC/a.ts"]) {
      await expect(client.runs.file(id, name)).rejects.toMatchObject({ status: 404, code: "file_not_found" });
    }
    await expect(client.runs.file(id, "big.bin")).rejects.toMatchObject({
      status: 422,
      code: "file_too_large",
      message: expect.stringContaining(`${MAX_FILE_BYTES + 1} bytes`) as string,
    });
  });

  test("outside of the tree is not reached by any spelling", async () => {
    const id = await ended();
    const raw = (name: string) => rawGet(served.door.port, `/v1/agent-runs/${id}/files/${name}`);
    expect(await raw("src/a.ts")).toMatchObject({ status: 200, body: "two\n" });
    expect(await raw("src%2Fa.ts")).toMatchObject({ status: 200, body: "two\n" });
    // Dots of a URL are the URL's own: what is left names a file, or another route.
    for (const name of ["src/../kept.txt", "src/%2e%2e/kept.txt", "./kept.txt"]) {
      expect([name, await raw(name)]).toMatchObject([name, { status: 200, body: "kept\n" }]);
    }
    for (const name of [
      "../../etc/passwd",
      "..%2f..%2fetc%2fpasswd",
      "src%2F..%2Fkept.txt",
      "%2Fetc%2Fpasswd",
      "/etc/passwd",
      "src//a.ts",
      "src/a.ts/",
      "kept.txt%00",
      "%E0%A4%A",
      ":(top)kept.txt",
      "kept.*",
      "x".repeat(5_000),
      "",
    ]) {
      const { status, type } = await raw(name);
      expect([name, status === 404 || status === 422, type]).toEqual([name, true, "application/problem+json"]);
    }
    for (const name of ["", "../x", "a//b", "/etc/passwd", "a\0"]) await expect(client.runs.file(id, name)).rejects.toThrow(TypeError);
    expect(served.log.filter(({ level }) => level === "error")).toEqual([]);
  });
});

describe("the log for people", () => {
  const said = (n: number): NewEvent => ({ type: "message.completed", data: { messageId: `m${n}`, kind: "text", text: `said ${n}` } });
  const piece = (n: number): NewEvent => ({ type: "message.delta", data: { messageId: `m${n}`, kind: "text", text: "sa" } });

  async function collect(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
    const all: LogEntry[] = [];
    for await (const entry of entries) all.push(entry);
    return all;
  }

  test("comes in pages and live, the same entries", async () => {
    const { id } = await create();
    const run = await served.claim(id);
    const live = collect(client.runs.logs(id, { follow: true }));
    // Far more pieces than are read at a time, then entries past one page.
    await served.say(
      run,
      Array.from({ length: 1_200 }, (_, n) => piece(n)),
    );
    await served.say(
      run,
      Array.from({ length: 450 }, (_, n) => said(n)),
    );
    await served.complete(run);
    const entries = await collect(client.runs.logs(id));
    expect(entries.map(({ message }) => message)).toEqual([
      "Fix it",
      ...Array.from({ length: 450 }, (_, n) => `said ${n}`),
      "completed without a change",
    ]);
    expect(await live).toEqual(entries);
    const after = entries[300]?.seq ?? 0;
    expect(await collect(client.runs.logs(id, { after }))).toEqual(entries.slice(301));
    expect(await collect(client.runs.logs(id, { after, follow: true }))).toEqual(entries.slice(301));
    const page = logPageSchema.parse(await (await get(`/v1/agent-runs/${id}/logs?limit=2`)).json());
    expect(page).toMatchObject({ data: [{ message: "Fix it" }, { message: "said 0" }], has_more: true });
    const next = logPageSchema.parse(await (await get(`/v1/agent-runs/${id}/logs?limit=1&after=${page.next_after}`)).json());
    expect(next.data).toMatchObject([{ message: "said 1" }]);
    for (const query of ["limit=0", "limit=1001", "after=-1", "after=x", "after=1&after=2", "colour=red"]) {
      expect([query, (await get(`/v1/agent-runs/${id}/logs?${query}`)).status]).toEqual([query, 422]);
    }
  });

  test("comes as lines, in which nothing commands a terminal", async () => {
    const { id } = await create();
    const run = await served.claim(id);
    await served.say(run, [
      { type: "message.completed", data: { messageId: "m", kind: "text", text: "first\nsecond \u001b[31mred\u0000\u009b2J" } },
    ]);
    const response = await get(`/v1/agent-runs/${id}/logs`, { accept: "text/plain" });
    expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
    expect(await response.text()).toMatch(
      /^\S+Z info    user    Fix it\n\S+Z info    agent   first\n    second \ufffd\[31mred\ufffd\ufffd2J\n$/,
    );
    const page = await get(`/v1/agent-runs/${id}/logs?limit=1`, { accept: "text/plain" });
    expect(page.headers.get("link")).toBe('<?after=3&limit=1>; rel="next"');
  });
});

test("another organization sees nothing of it", async () => {
  const id = await ended();
  const other = new RunyardClient({ baseUrl: served.door.url, token: "token-b" });
  const refused = { status: 404, code: "run_not_found" };
  await expect(other.runs.files(id)).rejects.toMatchObject(refused);
  await expect(other.runs.file(id, "kept.txt")).rejects.toMatchObject(refused);
  await expect(other.runs.diff(id)).rejects.toMatchObject(refused);
  await expect(other.runs.patch(id)).rejects.toMatchObject(refused);
  await expect(other.runs.logs(id).next()).rejects.toMatchObject(refused);
  await expect(other.runs.logs(id, { follow: true }).next()).rejects.toMatchObject(refused);
  expect((await client.runs.files(id)).data).toHaveLength(3);
});

test("the status counts the asker's runs", async () => {
  const counting = await serve();
  try {
    const other = new RunyardClient({ baseUrl: counting.door.url, token: "token-b" });
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.push((await counting.client.runs.create({ task: "x", repositoryUrl: "/r" })).id);
    const run = await counting.claim(ids[0] ?? "");
    await counting.claim(ids[1] ?? "");
    await counting.complete(await counting.claim(ids[2] ?? ""));
    await counting.database.db.inOrganization("org_a", (tx) =>
      tx.query("update runyard.runs set status = 'awaiting_input' where id = $1", [run.id]),
    );
    const status = serverStatusSchema.parse(await counting.client.status());
    expect(status).toMatchObject({ version: "1.2.3", runs: { running: 1, waiting: 1, awaitingPlan: 0, queued: 2 }, database: "external" });
    const host = "127.0.0.1:11434";
    expect(status.model).toEqual({
      connected: true,
      name: "some-model",
      host,
      providers: [{ name: "openai", api: "openai", host }],
    });
    expect(modelListSchema.parse(await counting.client.models.list())).toMatchObject({
      data: [{ id: "openai/gpt-x", provider: "openai", contextTokens: 128_000, inputUsdPerMillion: 1.25 }],
      providers: [{ name: "openai", models: 1, problem: null }],
    });
    expect(status.sandbox).toMatchObject({ driver: "process", available: true, limits: { memory: true, cpus: false, pids: true } });
    expect((await other.status()).runs).toEqual({ running: 0, waiting: 0, awaitingPlan: 0, awaitingChecks: 0, queued: 0, limit: 10 });
  } finally {
    await counting.close();
  }
});
