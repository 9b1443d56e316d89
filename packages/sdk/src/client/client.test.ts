import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { RunyardApiError, RunyardClient, type RunyardClientOptions, RunyardConnectionError } from "../index.ts";

const open: { close(): unknown; closeAllConnections?(): void }[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections?.();
    server.close();
  }
});

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** A server that gives one answer after the other, the last one again and again, and keeps what was asked. */
async function serve(...answers: Answer[]): Promise<{ url: string; asked: IncomingMessage[]; server: Server }> {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    request.resume();
    answers[Math.min(asked.length, answers.length) - 1]?.(response, request);
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, server };
}

const client = (baseUrl: string, more: Partial<RunyardClientOptions> = {}): RunyardClient =>
  new RunyardClient({ baseUrl, token: "secret", retryDelayMs: 5, ...more });

const RUN = { id: "run_1", status: "running", field_of_tomorrow: { deep: [1] } };
const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (response) =>
    void response
      .writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json", ...headers })
      .end(JSON.stringify(body));
const problem = (status: number, code: string, headers: Record<string, string> = {}): Answer =>
  json(status, { type: "urn:x", title: "T", status, code, detail: `It was ${code}.`, request_id: "req_9" }, headers);
const cut: Answer = (response) => void response.destroy();
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("a call", () => {
  test("sends the token in its header, and keeps fields that it does not know", async () => {
    const { url, asked } = await serve(json(200, RUN));
    expect(await client(`${url}/`).runs.get("run_1")).toEqual(RUN);
    expect(asked[0]).toMatchObject({ method: "GET", url: "/v1/agent-runs/run_1" });
    expect(asked[0]?.headers).toMatchObject({ authorization: "Bearer secret", accept: "application/json, application/problem+json;q=0.5" });
  });

  test("goes below a path where the base URL has one", async () => {
    const { url, asked } = await serve(json(200, RUN));
    await client(`${url}/runyard/`).runs.cancel("run_1");
    expect([asked[0]?.method, asked[0]?.url]).toEqual(["POST", "/runyard/v1/agent-runs/run_1/cancel"]);
  });

  test("refuses what is no id before anything is sent", async () => {
    const { url, asked } = await serve(json(200, RUN));
    for (const id of ["", "..", "a/b", "a?b", "%2e"]) await expect(failure(client(url).runs.get(id))).resolves.toBeInstanceOf(TypeError);
    expect(asked).toEqual([]);
  });

  test("refuses addresses and tokens that cannot be", () => {
    for (const baseUrl of ["", "localhost:4600", "ftp://x", "http://user:pass@x"]) expect(() => client(baseUrl)).toThrow("baseUrl");
    for (const token of ["", "a b", "a\nb"]) expect(() => new RunyardClient({ baseUrl: "http://x", token })).toThrow("token must be");
  });

  test("uses the fetch that it was given", async () => {
    const given: typeof fetch = async () => new Response(JSON.stringify(RUN));
    expect(await client("http://nowhere.example", { fetch: given }).runs.get("run_1")).toEqual(RUN);
  });

  test("lists a page, or all of them", async () => {
    const page = (ids: string[], next: string | null) =>
      json(200, { data: ids.map((id) => ({ ...RUN, id })), has_more: next !== null, next_cursor: next });
    const { url, asked } = await serve(page(["a", "b"], "c1"), page(["c"], "c2"), page([], null), page(["a", "b"], "c1"));
    const seen: string[] = [];
    for await (const run of client(url).runs.list({ status: "running" })) seen.push(run.id);
    expect(seen).toEqual(["a", "b", "c"]);
    expect(asked.map((request) => request.url)).toEqual([
      "/v1/agent-runs?status=running",
      "/v1/agent-runs?status=running&cursor=c1",
      "/v1/agent-runs?status=running&cursor=c2",
    ]);
    expect((await client(url).runs.list()).next_cursor).toBe("c1");
  });
});

describe("errors", () => {
  test("a problem becomes an error with everything that it says", async () => {
    const errors = [{ path: "task", message: "is required" }];
    const { url } = await serve(
      json(422, { type: "t", title: "T", status: 422, code: "invalid_request", detail: "task: is required", request_id: "req_1", errors }),
    );
    const error = await failure(client(url).runs.create({ task: "", repositoryUrl: "/x" }));
    expect(RunyardApiError.is(error)).toBe(true);
    expect(error).toMatchObject({
      name: "RunyardApiError",
      message: "task: is required",
      status: 422,
      code: "invalid_request",
      requestId: "req_1",
      errors,
      retryable: false,
    });
  });

  test("an answer that is not Runyard's says so", async () => {
    const html: Answer = (response) => void response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad gateway</h1>");
    const { url } = await serve(html);
    const error = await failure(client(url, { maxRetries: 0 }).runs.get("run_1"));
    expect(error).toMatchObject({ status: 502, code: null, retryable: true });
    expect(String(error)).toContain(`${url} answered 502 with text/html`);
    const login = await serve((response) => void response.writeHead(200, { "content-type": "text/html" }).end("<form>"));
    expect(String(await failure(client(login.url).runs.get("run_1")))).toContain("which is not an answer of Runyard");
    const other = await serve(json(200, { hello: "world" }));
    expect(String(await failure(client(other.url).runs.get("run_1")))).toContain("does not have the shape");
  });

  test("a redirect is not followed, so that the token goes nowhere else", async () => {
    const elsewhere = await serve(json(200, RUN));
    const { url } = await serve((response) => void response.writeHead(307, { location: `${elsewhere.url}/v1/agent-runs/run_1` }).end());
    expect(String(await failure(client(url).runs.get("run_1")))).toContain("answered with a redirect");
    expect(elsewhere.asked).toEqual([]);
  });

  test("where nothing listens, the message says where and what to do", async () => {
    const { url, server } = await serve(json(200, RUN));
    await new Promise((resolve) => server.close(resolve));
    const error = await failure(client(url).runs.get("run_1"));
    expect(RunyardConnectionError.is(error)).toBe(true);
    expect(error).toMatchObject({ url, serverRuns: false });
    expect(String(error)).toContain(`Cannot reach Runyard at ${url}: nothing listens there. Start the server with \`runyard up\``);
    expect(await failure(client(url.replace("127.0.0.1", "localhost"), { maxRetries: 0 }).runs.get("run_1"))).toMatchObject({
      serverRuns: false,
    });
  });

  test("where something listens that breaks off or speaks otherwise, the message says that", async () => {
    const { url } = await serve(cut);
    expect(await failure(client(url, { maxRetries: 0 }).runs.get("run_1"))).toMatchObject({ serverRuns: true });
    const smtp = createTcpServer((socket) => void socket.on("error", () => undefined).end("220 mail ready\r\n")).listen(0, "127.0.0.1");
    open.push(smtp);
    await new Promise((resolve) => smtp.once("listening", resolve));
    const address = `http://127.0.0.1:${(smtp.address() as AddressInfo).port}`;
    expect(String(await failure(client(address, { maxRetries: 0 }).runs.get("run_1")))).toContain("does not speak as expected");
  });

  test("time runs out before the head and within the body", async () => {
    const silent = await serve(() => undefined);
    const first = await failure(client(silent.url, { timeoutMs: 30, maxRetries: 0 }).runs.get("run_1"));
    expect(String(first)).toContain("no answer came within 0.03 s");
    const halting = await serve((response) => void response.writeHead(200, { "content-type": "application/json" }).write('{"id":'));
    const second = await failure(client(halting.url, { maxRetries: 0 }).runs.get("run_1", { timeoutMs: 30 }));
    expect(RunyardConnectionError.is(second)).toBe(true);
  });

  test("the caller's signal ends a call with the caller's reason", async () => {
    const { url } = await serve(() => undefined);
    const controller = new AbortController();
    const call = failure(client(url).runs.get("run_1", { signal: controller.signal }));
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await call).toBe(reason);
    expect(await failure(client(url).runs.get("run_1", { signal: AbortSignal.abort(reason) }))).toBe(reason);
  });
});

describe("trying again", () => {
  test.each([
    ["a connection that breaks", cut],
    ["408", problem(408, "timeout")],
    ["429", problem(429, "rate_limited")],
    ["500", problem(500, "internal")],
    ["503", problem(503, "unavailable")],
    ["a proxy's 502", (response: ServerResponse) => void response.writeHead(502).end("nope")],
  ])("%s: reading is tried again, twice", async (_, answer) => {
    const good = await serve(answer, answer, json(200, RUN));
    expect(await client(good.url).runs.get("run_1")).toEqual(RUN);
    const bad = await serve(answer);
    expect(await failure(client(bad.url).runs.get("run_1"))).toBeInstanceOf(Error);
    expect(bad.asked).toHaveLength(3);
    const patient = await serve(answer);
    await failure(client(patient.url).runs.patch("run_1", { maxRetries: 4 }));
    expect(patient.asked).toHaveLength(5);
  });

  test.each([400, 401, 403, 404, 409, 413, 415, 422])("%d is final", async (status) => {
    const { url, asked } = await serve(problem(status, "some_code"));
    expect(await failure(client(url).runs.get("run_1"))).toMatchObject({ status, code: "some_code" });
    expect(asked).toHaveLength(1);
  });

  test("creating is tried again under the same key, and every call has a key of its own", async () => {
    for (const answer of [cut, problem(503, "unavailable"), problem(429, "rate_limited", { "retry-after": "0" })]) {
      const { url, asked } = await serve(answer, answer, json(201, RUN));
      const { runs } = client(url);
      expect(await runs.create({ task: "x", repositoryUrl: "/x" })).toEqual(RUN);
      await runs.create({ task: "x", repositoryUrl: "/x" });
      await runs.create({ task: "x", repositoryUrl: "/x", idempotencyKey: "mine" });
      const keys = asked.map((request) => request.headers["idempotency-key"]);
      expect(keys).toEqual([keys[0], keys[0], keys[0], keys[3], "mine"]);
      expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
      expect(keys[3]).toMatch(/^[0-9a-f]{32}$/);
      expect(keys[3]).not.toBe(keys[0]);
    }
  });

  test("a key that no header can carry is refused before anything is sent", async () => {
    const { url, asked } = await serve(json(201, RUN));
    for (const idempotencyKey of ["", "a b", "ü", "a\nb", "x".repeat(256)]) {
      const call = client(url).runs.create({ task: "x", repositoryUrl: "/x", idempotencyKey });
      expect(String(await failure(call))).toContain("idempotencyKey must be");
    }
    expect(asked).toEqual([]);
  });

  test("what must not happen twice is not tried again; cancelling is", async () => {
    for (const answer of [cut, problem(503, "unavailable")]) {
      const { url, asked } = await serve(answer);
      const { runs } = client(url);
      await failure(runs.answerPermission("run_1", "perm_1_2", "allow", { maxRetries: 5 }));
      await failure(runs.answerQuestion("run_1", "ask_1_2", "yes"));
      expect(asked).toHaveLength(2);
      await failure(runs.cancel("run_1"));
      expect(asked).toHaveLength(5);
    }
  });

  test("Retry-After is obeyed, in seconds and as a date; a long one is left to the caller", async () => {
    for (const after of [() => "1", () => new Date(Date.now() + 1_900).toUTCString()]) {
      const { url } = await serve(problem(429, "rate_limited", { "retry-after": after() }), json(200, RUN));
      const startedAt = performance.now();
      await client(url).runs.get("run_1");
      // A lower bound cannot fail on a slow machine; the usual wait would have been 5 ms.
      expect(performance.now() - startedAt).toBeGreaterThan(500);
    }
    const { url, asked } = await serve(problem(429, "rate_limited", { "retry-after": "3600" }));
    expect(await failure(client(url).runs.get("run_1"))).toMatchObject({ retryAfterMs: 3_600_000 });
    expect(asked).toHaveLength(1);
  });
});
