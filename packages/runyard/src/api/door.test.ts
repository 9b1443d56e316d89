import { problemSchema, runPageSchema, runSchema, RunyardError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_BODY_BYTES } from "./body.ts";
import { newRunId } from "./testing/log-engine.ts";
import { type Door, openDoor, OWNER, sendBytes } from "./testing/door.ts";

let door: Door;
beforeAll(async () => {
  door = await openDoor({ allowedHosts: () => ["runyard.example.com"] });
});
afterAll(() => door.close());

const RUN = { task: "Fix it", repositoryUrl: "/tmp/repository" };
const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  door.fetch(path, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });

/** The answer as a problem, with everything that every problem has. */
async function expectProblem(response: Response, status: number, code: string) {
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const problem = problemSchema.parse(await response.json());
  expect(problem).toMatchObject({ status, code, request_id: response.headers.get("x-request-id") });
  expectStamped(response);
  return problem;
}

function expectStamped(response: Response): void {
  expect(response.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(response.headers.get("referrer-policy")).toBe("no-referrer");
  expect([...response.headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
}

/** A request whose headers fetch would not send. */
function raw(request: { method?: string; path?: string; headers?: readonly string[] }): Promise<string> {
  const { method = "GET", path = "/livez", headers = [`Host: 127.0.0.1:${door.port}`] } = request;
  return sendBytes(door.port, `${method} ${path} HTTP/1.1\r\n${[...headers, "Connection: close"].join("\r\n")}\r\n\r\n`);
}

describe("runs over HTTP", () => {
  test("create answers 201 with the run and its place", async () => {
    const response = await post("/v1/agent-runs", RUN);
    expect(response.status).toBe(201);
    const run = runSchema.parse(await response.json());
    expect(response.headers.get("location")).toBe(`/v1/agent-runs/${run.id}`);
    expectStamped(response);
    const read = await door.fetch(response.headers.get("location") ?? "");
    expect(await read.json()).toEqual(run);
  });

  test("cancel answers 202, and 409 once the run has ended", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    const cancelled = await door.fetch(`/v1/agent-runs/${id}/cancel`, { method: "POST" });
    expect(cancelled.status).toBe(202);
    expect(await cancelled.json()).toMatchObject({ id, status: "cancelled" });
    await expectProblem(await door.fetch(`/v1/agent-runs/${id}/cancel`, { method: "POST" }), 409, "run_ended");
  });

  test("answers to an agent reach the engine", async () => {
    const waitingFor = [
      { kind: "permission" as const, id: "perm_1_10", title: "rm", toolKind: "execute" as const },
      { kind: "question" as const, id: "ask_1_20", title: "which?", toolKind: null },
    ];
    const { id } = door.engine.addRun(OWNER.orgId, { waitingFor });
    const allowed = await post(`/v1/agent-runs/${id}/permissions/perm_1_10`, { decision: "allow" });
    expect(allowed.status).toBe(200);
    expect(runSchema.parse(await allowed.json()).waitingFor).toHaveLength(1);
    const answered = await post(`/v1/agent-runs/${id}/questions/ask_1_20`, { answer: "the first" });
    expect(answered.status).toBe(200);
    expect(runSchema.parse(await answered.json()).waitingFor).toEqual([]);
    await expectProblem(await post(`/v1/agent-runs/${id}/questions/ask_1_20`, { answer: "again" }), 404, "request_not_found");
    await expectProblem(await post(`/v1/agent-runs/${id}/permissions/perm_1_10`, { decision: "maybe" }), 422, "invalid_request");
  });

  test("lists page by cursor", async () => {
    const page = runPageSchema.parse(await (await door.fetch("/v1/agent-runs?limit=1")).json());
    expect(page).toMatchObject({ has_more: true });
    const next = runPageSchema.parse(await (await door.fetch(`/v1/agent-runs?limit=1&cursor=${page.next_cursor}`)).json());
    expect(next.data[0]?.id).not.toBe(page.data[0]?.id);
  });

  test("a run of another organization is not there", async () => {
    const { id } = door.engine.addRun("org_b");
    door.tokens.set("other", { ...OWNER, orgId: "org_b" });
    expect((await door.fetch(`/v1/agent-runs/${id}`, { headers: { authorization: "Bearer other" } })).status).toBe(200);
    for (const path of ["", "/events", "/patch"])
      await expectProblem(await door.fetch(`/v1/agent-runs/${id}${path}`), 404, "run_not_found");
    const stream = await door.fetch(`/v1/agent-runs/${id}/events`, { headers: { accept: "text/event-stream" } });
    await expectProblem(stream, 404, "run_not_found");
  });

  test("a patch is saved, never shown: an agent wrote it", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    const response = await door.fetch(`/v1/agent-runs/${id}/patch`);
    expect(await response.text()).toContain("<script>");
    expect(response.headers.get("content-type")).toBe("text/x-diff; charset=utf-8");
    expect(response.headers.get("content-disposition")).toBe(`attachment; filename="${id}.patch"`);
    expect(response.headers.get("content-security-policy")).toContain("sandbox");
    expectStamped(response);
  });

  test("HEAD answers as GET does, without a body", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    for (const accept of ["application/json", "text/event-stream"]) {
      const response = await door.fetch(`/v1/agent-runs/${id}/events`, { method: "HEAD", headers: { accept } });
      expect([response.status, await response.text()]).toEqual([200, ""]);
      expect(response.headers.get("content-type")).toContain(accept);
    }
    expect(door.engine.subscriptions()).toBe(0);
  });
});

describe("what is refused", () => {
  test("a request without a valid token, wherever the token stands but in its header", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    const path = `/v1/agent-runs/${id}`;
    expect((await fetch(`${door.url}${path}`, { headers: { authorization: "bearer owner" } })).status).toBe(200);
    for (const headers of [
      {},
      { authorization: "Bearer wrong" },
      { authorization: "Basic b3duZXI6" },
      { authorization: "owner" },
      { cookie: "token=owner" },
    ]) {
      const response = await fetch(`${door.url}${path}`, { headers: headers as Record<string, string> });
      expect(response.headers.get("www-authenticate")).toContain("Bearer");
      await expectProblem(response, 401, "unauthorized");
    }
    await expectProblem(await fetch(`${door.url}${path}?token=owner&access_token=owner`), 401, "unauthorized");
  });

  test("another host name or another site's page", async () => {
    const here = `127.0.0.1:${door.port}`;
    for (const host of [here, `localhost:${door.port}`, `[::1]:${door.port}`, "runyard.example.com", `LOCALHOST:${door.port}`]) {
      expect(`${host}: ${await raw({ headers: [`Host: ${host}`] })}`).toContain("200 OK");
    }
    for (const host of ["evil.example", "127.0.0.1", "127.0.0.1:1", `127.0.0.1.evil.example:${door.port}`, `localhost.:${door.port}`]) {
      expect(`${host}: ${await raw({ headers: [`Host: ${host}`] })}`).toContain('"code":"foreign_origin"');
    }
    expect(await raw({ headers: [`Host: ${here}`, "Host: evil.example"] })).toMatch(/^HTTP\/1\.1 (400|403)/);
    expect(await raw({ path: "http://evil.example/livez" })).toContain("403 Forbidden");
    for (const origin of [`http://${here}`, `http://localhost:${door.port}`, "https://runyard.example.com"]) {
      expect(`${origin}: ${await raw({ headers: [`Host: ${here}`, `Origin: ${origin}`] })}`).toContain("200 OK");
    }
    for (const origin of [
      "null",
      "http://evil.example",
      "https://runyard.example.com.evil.example",
      `ftp://${here}`,
      "http://localhost",
      "",
    ]) {
      expect(`${origin}: ${await raw({ headers: [`Host: ${here}`, `Origin: ${origin}`] })}`).toContain("403 Forbidden");
    }
  });

  test("paths that are not there, and methods that a path does not take", async () => {
    await expectProblem(await door.fetch("/nothing"), 404, "not_found");
    await expectProblem(await door.fetch("/v1/agent-runs/"), 404, "not_found");
    await expectProblem(
      await door.fetch("/v1/agent-runs", { method: "OPTIONS", headers: { origin: door.url } }),
      405,
      "method_not_allowed",
    );
    const response = await door.fetch("/v1/agent-runs", { method: "DELETE" });
    expect(response.headers.get("allow")).toBe("POST, GET, HEAD");
    await expectProblem(response, 405, "method_not_allowed");
    expect((await door.fetch("/livez", { method: "POST" })).headers.get("allow")).toBe("GET, HEAD");
  });

  test("ids that are none, and tricks with paths", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    const headers = [`Host: 127.0.0.1:${door.port}`, "Authorization: Bearer owner"];
    expect(await raw({ path: `/v1/agent-runs/${id}`, headers })).toContain("200 OK");
    for (const bad of [
      "..%2f..%2fetc",
      "%00",
      `${id}%00`,
      "%E0%A4%A",
      "%",
      id.toUpperCase(),
      `${id}x`,
      "1",
      "%2e%2e%2f",
      "__proto__",
      "💥",
    ]) {
      const answer = await raw({ path: `/v1/agent-runs/${Buffer.from(bad).toString("latin1")}`, headers });
      expect(`${bad}: ${answer}`).toMatch(/: HTTP\/1\.1 4\d\d [^]*application\/problem\+json/);
    }
    for (const path of [
      "/v1/../v1/agent-runs/..",
      "//v1/agent-runs",
      "/v1%2fagent-runs",
      "/v1\\agent-runs",
      "*",
      "",
      "/\t",
      `/v1/agent-runs/${id}/../${id}/patch/..`,
    ]) {
      expect(`${path}: ${await raw({ path, headers })}`).toMatch(/: HTTP\/1\.1 (200|4\d\d) /);
    }
    await expectProblem(await door.fetch(`/v1/agent-runs/${newRunId()}`), 404, "run_not_found");
    await expectProblem(await door.fetch("/v1/agent-runs/1"), 404, "run_not_found");
    await expectProblem(await post(`/v1/agent-runs/${id}/permissions/perm_x`, { decision: "allow" }), 404, "request_not_found");
    expect(door.log.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("bodies of another type, broken ones, and fields that are wrong", async () => {
    await expectProblem(await post("/v1/agent-runs", RUN, { "content-type": "text/plain" }), 415, "unsupported_media_type");
    await expectProblem(await post("/v1/agent-runs", RUN, { "content-type": "application/jsonp" }), 415, "unsupported_media_type");
    await expectProblem(await post("/v1/agent-runs", RUN, { "content-encoding": "gzip" }), 415, "unsupported_media_type");
    expect((await post("/v1/agent-runs", RUN, { "content-type": "application/json; charset=utf-8" })).status).toBe(201);
    await expectProblem(await post("/v1/agent-runs", "{"), 400, "invalid_json");
    await expectProblem(await post("/v1/agent-runs", ""), 400, "invalid_json");
    const notUtf8 = Uint8Array.from([
      ...new TextEncoder().encode('{"task":"'),
      0xff,
      ...new TextEncoder().encode('","repositoryUrl":"/x"}'),
    ]);
    const sent = await door.fetch("/v1/agent-runs", { method: "POST", body: notUtf8, headers: { "content-type": "application/json" } });
    await expectProblem(sent, 400, "invalid_json");
    const wrong = await expectProblem(
      await post("/v1/agent-runs", { repositoryUrl: 1, agent: { command: ["a", 2] }, typo: true }),
      422,
      "invalid_request",
    );
    expect(wrong.errors).toEqual(
      expect.arrayContaining([
        { path: "task", message: "is required" },
        { path: "repositoryUrl", message: "Invalid input: expected string, received number" },
        { path: "agent.command[1]", message: "Invalid input: expected string, received number" },
        { path: "typo", message: "is not known here" },
      ]),
    );
    for (const task of ["a\0b", "a\ud800b"]) {
      const problem = await expectProblem(
        await post("/v1/agent-runs", `{"task":${JSON.stringify(task)},"repositoryUrl":"/x"}`),
        422,
        "invalid_request",
      );
      expect(problem.errors?.[0]?.path).toBe("task");
    }
    expect((await expectProblem(await post("/v1/agent-runs", "[]"), 422, "invalid_request")).errors?.[0]?.path).toBe("$");
    await expectProblem(await door.fetch("/v1/agent-runs?limit=0"), 422, "invalid_request");
    await expectProblem(await door.fetch("/v1/agent-runs?limit=1&limit=2"), 422, "invalid_request");
    await expectProblem(await door.fetch("/v1/agent-runs?cursor=%00"), 422, "invalid_request");
    await expectProblem(await door.fetch("/v1/agent-runs?colour=red"), 422, "invalid_request");
  });

  test("bodies past the limit, announced or not", async () => {
    const fitting = JSON.stringify({ ...RUN, task: "a".repeat(1_000_000), pad: "b".repeat(MAX_BODY_BYTES - 1_000_000 - 70) });
    expect(fitting.length).toBeLessThanOrEqual(MAX_BODY_BYTES);
    await expectProblem(await post("/v1/agent-runs", fitting), 422, "invalid_request");
    await expectProblem(await post("/v1/agent-runs", fitting + " ".repeat(100)), 413, "payload_too_large");
    const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65_536).fill(32)) });
    const streamed = { method: "POST", body: endless, duplex: "half", headers: { "content-type": "application/json" } };
    await expectProblem(await door.fetch("/v1/agent-runs", streamed as RequestInit), 413, "payload_too_large");
    const pieces = [JSON.stringify(RUN).slice(0, 10), JSON.stringify(RUN).slice(10)].map((piece) => new TextEncoder().encode(piece));
    const small = { method: "POST", body: ReadableStream.from(pieces), duplex: "half", headers: { "content-type": "application/json" } };
    expect((await door.fetch("/v1/agent-runs", small as RequestInit)).status).toBe(201);
  });
});

describe("what goes wrong inside", () => {
  test("an unexpected error shows nothing of itself, and is in the log under the request's id", async () => {
    const inner = await openDoor();
    inner.engine.getRun = () => Promise.reject(new Error("password=hunter2 at /home/me/secret.ts"));
    const response = await inner.fetch(`/v1/agent-runs/${newRunId()}`);
    const problem = await expectProblem(response, 500, "internal");
    expect(JSON.stringify(problem)).not.toMatch(/hunter2|secret/);
    const logged = inner.log.find(({ level }) => level === "error");
    expect(logged?.requestId).toBe(problem.request_id);
    expect(String(logged?.error)).toContain("hunter2");
    inner.engine.getRun = () => Promise.reject(new RunyardError("internal", "at /home/me/secret.ts"));
    expect((await expectProblem(await inner.fetch(`/v1/agent-runs/${newRunId()}`), 500, "internal")).detail).not.toContain("secret");
    inner.engine.getRun = () => Promise.reject("not even an error");
    expect((await inner.fetch(`/v1/agent-runs/${newRunId()}`)).status).toBe(500);
    await inner.close();
  });

  test("a database that is away is 503, to be tried again, and its own words stay inside", async () => {
    class Away extends Error {}
    const inner = await openDoor({ isAway: (error) => error instanceof Away });
    inner.engine.getRun = () => Promise.reject(new Away("connect ENOENT /home/me/.s.PGSQL.5432"));
    const response = await inner.fetch(`/v1/agent-runs/${newRunId()}`);
    expect(response.headers.get("retry-after")).toBe("1");
    expect((await expectProblem(response, 503, "unavailable")).detail).toBe("The database cannot be used at the moment. Try again.");
    expect(String(inner.log.find(({ level }) => level === "error")?.error)).toContain("PGSQL");
    await inner.close();
  });

  test("readyz follows the engine, livez does not", async () => {
    const inner = await openDoor();
    const ready = await fetch(`${inner.url}/readyz`);
    expect(ready.status).toBe(200);
    const clock = { name: "clock", state: "warning", reason: "The clock is odd." };
    expect(await ready.json()).toEqual({ status: "ok", checks: [{ name: "database", state: "ok", reason: null }, clock] });
    inner.engine.setReady(false);
    const response = await fetch(`${inner.url}/readyz`);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await expectProblem(response, 503, "unavailable")).toMatchObject({
      detail: "The server cannot take work. The database does not answer.",
      checks: [{ name: "database", state: "failed", reason: "The database does not answer." }, clock],
    });
    expect(await (await fetch(`${inner.url}/livez`)).json()).toEqual({ status: "ok", name: "runyard", version: "1.2.3" });
    await inner.close();
  });

  test("the log names each answer and holds no query", async () => {
    await door.fetch("/v1/agent-runs?limit=3");
    const entry = door.log.at(-1);
    expect(entry).toMatchObject({ level: "info", method: "GET", path: "/v1/agent-runs", status: 200 });
  });
});

describe("listening", () => {
  test("a port in use is refused in a sentence", async () => {
    await expect(door.api.listen({ host: "127.0.0.1", port: door.port })).rejects.toThrow(`Port ${door.port} on 127.0.0.1 is in use`);
  });

  test("the same app answers without a socket", async () => {
    const response = await door.api.fetch(new Request("http://runyard.example.com/livez"));
    expect(response.status).toBe(200);
    expect((await door.api.fetch(new Request("http://evil.example/livez"))).status).toBe(403);
  });

  test("a session's cookie is for https alone where the server is reached by https", async () => {
    const address = "https://runyard.example.com";
    const headers = { authorization: "Bearer owner", "content-type": "application/json" };
    const made = await door.api.fetch(new Request(`${address}/v1/auth/login-links`, { method: "POST", headers, body: "{}" }));
    const { url } = (await made.json()) as { url: string };
    expect(url.startsWith(`${address}/login?code=`)).toBe(true);
    const cookie = (await door.api.fetch(new Request(url))).headers.get("set-cookie");
    expect(cookie).toMatch(/^runyard-443=.*; Secure/);
  });
});
