import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { isKnownEvent, RunyardApiError, RunyardClient, type RunyardClientOptions, RunyardConnectionError } from "../index.ts";

const servers: ReturnType<typeof createServer>[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Connection = (response: ServerResponse, request: IncomingMessage) => void;

/** A server whose connections go by the list, the last one again and again; `asked` are their queries. */
async function serve(...connections: Connection[]): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url?.split("?")[1] ?? "");
    connections[Math.min(asked.length, connections.length) - 1]?.(response, request);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const frame = (seq: number, type = "log"): string =>
  `id: ${seq}\ndata: ${JSON.stringify({ seq, id: `run_1:${seq}`, type, data: { text: "ü" } })}\n\n`;
const frames = (from: number, to: number): string => Array.from({ length: to - from + 1 }, (_, index) => frame(from + index)).join("");
const DONE = 'data: {"type":"stream.done"}\n\n';

const start = (response: ServerResponse): ServerResponse => response.writeHead(200, { "content-type": "text/event-stream" });
const whole =
  (text: string): Connection =>
  (response) =>
    void start(response).end(text);
const broken =
  (text: string): Connection =>
  (response) =>
    void start(response).write(text, () => setTimeout(() => response.destroy(), 5));
const silent =
  (text: string): Connection =>
  (response) =>
    void start(response).write(text);

const client = (baseUrl: string, more: Partial<RunyardClientOptions> = {}): RunyardClient =>
  new RunyardClient({ baseUrl, token: "t", retryDelayMs: 2, ...more });

async function seqs(events: AsyncIterable<{ seq: number }>): Promise<number[]> {
  const found: number[] = [];
  for await (const event of events) found.push(event.seq);
  return found;
}
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("a stream of events", () => {
  test("ends with the server's last word", async () => {
    const { url, asked } = await serve(whole(`retry: 2000\n\n${frames(1, 3)}${DONE}`));
    expect(await seqs(client(url).runs.events("run_1"))).toEqual([1, 2, 3]);
    expect(asked).toEqual(["after=0"]);
  });

  test("goes on where a connection broke or ended, each event once", async () => {
    const { url, asked } = await serve(
      broken(frames(1, 2)),
      whole(frames(2, 4)),
      broken(`${frames(5, 5)}id: 6\ndata: {"seq":6,"ty`),
      (response) => void response.destroy(),
      (response) => void response.writeHead(503, { "content-type": "text/html" }).end("restarting"),
      whole(`${frames(6, 7)}${DONE}`),
    );
    expect(await seqs(client(url).runs.events("run_1", { follow: true }))).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(asked).toEqual([0, 2, 4, 5, 5, 5].map((after) => `after=${after}&follow=1`));
  });

  test("is not disturbed by bytes that come one by one", async () => {
    const bytes = Buffer.from(`\ufeff: hello\r\n\r\n${frames(1, 3).replaceAll("\n", "\r\n")}${DONE}`);
    const { url } = await serve((response) => {
      start(response);
      let at = 0;
      const next = (): void =>
        void (at < bytes.length ? response.write(bytes.subarray(at, ++at), () => setImmediate(next)) : response.end());
      next();
    });
    expect(await seqs(client(url).runs.events("run_1"))).toEqual([1, 2, 3]);
  });

  test("a connection that falls silent is made again", async () => {
    const { url, asked } = await serve(silent(frames(1, 2)), whole(`${frames(3, 3)}${DONE}`));
    expect(await seqs(client(url, { idleTimeoutMs: 1_500 }).runs.events("run_1"))).toEqual([1, 2, 3]);
    expect(asked).toEqual(["after=0", "after=2"]);
  });

  test("heartbeats keep a connection, and a slow reader is not silence", async () => {
    const { url, asked } = await serve((response) => {
      start(response).write(frames(1, 2));
      const beat = setInterval(() => response.write(":\n\n"), 50);
      setTimeout(() => {
        clearInterval(beat);
        response.end(`${frames(3, 3)}${DONE}`);
      }, 2_500);
    });
    const found: number[] = [];
    for await (const event of client(url, { idleTimeoutMs: 1_000 }).runs.events("run_1")) {
      found.push(event.seq);
      if (event.seq === 1) await new Promise((resolve) => setTimeout(resolve, 1_200));
    }
    expect(found).toEqual([1, 2, 3]);
    expect(asked).toEqual(["after=0"]);
  });

  test("events of tomorrow come as they were sent; what is no event is read over", async () => {
    const odd = `id: 1\ndata: {"seq":1,"type":"moon.landed","data":{"crew":3},"extra":true}\n\ndata: not json\n\ndata: 5\n\ndata: {"type":"stream.paused"}\n\n`;
    const { url } = await serve(whole(`${odd}${frame(2)}${DONE}`));
    const found = [];
    for await (const event of client(url).runs.events("run_1")) found.push(event);
    expect(found[0]).toEqual({ seq: 1, type: "moon.landed", data: { crew: 3 }, extra: true });
    expect(found.map(isKnownEvent)).toEqual([false, true]);
  });

  test("leaving the loop closes the connection", async () => {
    let closed: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => (closed = resolve));
    const { url } = await serve((response) => {
      response.on("close", closed);
      start(response).write(frames(1, 5));
    });
    let last = 0;
    for await (const event of client(url).runs.events("run_1")) {
      last = event.seq;
      if (last === 2) break;
    }
    await gone;
    expect(last).toBe(2);
  });

  test("the caller's signal ends it with the caller's reason, also between connections", async () => {
    const reason = new Error("enough");
    for (const connection of [silent(frames(1, 1)), whole(frames(1, 1))]) {
      const { url } = await serve(connection);
      const controller = new AbortController();
      const events = client(url, { retryDelayMs: 60_000 }).runs.events("run_1", { signal: controller.signal });
      expect((await events.next()).value).toMatchObject({ seq: 1 });
      const next = failure(events.next());
      setTimeout(() => controller.abort(reason), 20);
      expect(await next).toBe(reason);
    }
  });
});

describe("the end of patience", () => {
  test.each([401, 403, 404, 422])("%d ends it, at once or after events", async (status) => {
    const body = JSON.stringify({ type: "t", title: "T", status, code: "a_code", detail: "No.", request_id: "r" });
    const refuse: Connection = (response) => void response.writeHead(status, { "content-type": "application/problem+json" }).end(body);
    const first = await serve(refuse);
    expect(await failure(seqs(client(first.url).runs.events("run_1")))).toMatchObject({ name: "RunyardApiError", status, code: "a_code" });
    expect(first.asked).toHaveLength(1);
    const later = await serve(broken(frames(1, 1)), refuse);
    expect(await failure(seqs(client(later.url).runs.events("run_1")))).toMatchObject({ status });
    expect(later.asked).toHaveLength(2);
  });

  test("a server that was never reached is given up soon, one that was after longer", async () => {
    const never = await serve((response) => void response.destroy());
    expect(RunyardConnectionError.is(await failure(seqs(client(never.url).runs.events("run_1"))))).toBe(true);
    expect(never.asked).toHaveLength(3);
    const once = await serve(broken(frames(1, 1)), (response) => void response.destroy());
    expect(RunyardConnectionError.is(await failure(seqs(client(once.url, { retryDelayMs: 0 }).runs.events("run_1"))))).toBe(true);
    expect(once.asked).toHaveLength(11);
  });

  test("an endless row of empty connections is not taken for progress", async () => {
    const { url, asked } = await serve(whole("retry: 2000\n\n"));
    expect(RunyardConnectionError.is(await failure(seqs(client(url).runs.events("run_1"))))).toBe(true);
    expect(asked).toHaveLength(3);
  });

  test("a page that is no stream is not waited for", async () => {
    const { url, asked } = await serve((response) => void response.writeHead(200, { "content-type": "text/html" }).end("<form>"));
    const error = await failure(seqs(client(url).runs.events("run_1")));
    expect(RunyardApiError.is(error)).toBe(true);
    expect(String(error)).toContain("text/html");
    expect(asked).toHaveLength(1);
  });
});
