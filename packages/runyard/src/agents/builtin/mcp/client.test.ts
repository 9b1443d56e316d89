import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type McpClient, type McpListener, type McpMessage, type OpenWire, openMcpClient } from "./client.ts";
import { httpWire } from "./http-wire.ts";

const OPTIONS = { clientInfo: { name: "test", version: "1" }, timeoutMs: 60_000 };
const INITIALIZED = { protocolVersion: "2025-03-26", capabilities: {} };

type Sent = McpMessage & { readonly params?: Record<string, unknown> };

/** A server in this process, which hears and says whatever a test wants. */
function memoryWire(): {
  open: OpenWire;
  sent: Sent[];
  say: (message: object) => void;
  listener: () => McpListener;
  closed: () => boolean;
} {
  const sent: Sent[] = [];
  let listener: McpListener | undefined;
  let isClosed = false;
  const hearer = (): McpListener => {
    if (listener === undefined) throw new Error("nobody listens");
    return listener;
  };
  return {
    sent,
    listener: hearer,
    say: (message) => hearer().onMessage(message),
    closed: () => isClosed,
    open: (given) => {
      listener = given;
      return {
        async send(message) {
          sent.push(message);
          if ((message as Sent).method === "initialize") given.onMessage({ id: (message as Sent).id, result: INITIALIZED });
        },
        speaks: () => undefined,
        close: () => void (isClosed = true),
      };
    },
  };
}

describe("the client", () => {
  test("answers what a server asks, and passes over what it says unasked", async () => {
    const wire = memoryWire();
    await openMcpClient(wire.open, OPTIONS);
    expect(wire.sent.map((message) => message.method)).toEqual(["initialize", "notifications/initialized"]);
    wire.say({ id: "a", method: "ping" });
    wire.say({ id: 7, method: "sampling/createMessage" });
    wire.say({ method: "notifications/tools/list_changed" });
    wire.say({ id: 99, result: "of nothing" });
    expect(wire.sent.slice(2)).toEqual([
      { jsonrpc: "2.0", id: "a", result: {} },
      { jsonrpc: "2.0", id: 7, error: { code: -32601, message: "There is no sampling/createMessage here" } },
    ]);
  });

  test("gives each request its own answer, or the server's error", async () => {
    const wire = memoryWire();
    const client = await openMcpClient(wire.open, OPTIONS);
    const requests = ["a", "b"].map((method) => client.request(method, {}, { timeoutMs: 60_000 }));
    wire.say({ id: 3, error: { message: "not this one" } });
    wire.say({ id: 2, result: { fine: true } });
    expect(await Promise.allSettled(requests)).toMatchObject([{ value: { fine: true } }, { reason: { message: "not this one" } }]);
  });

  test("tells the server of a request that is withdrawn, or takes too long", async () => {
    const wire = memoryWire();
    const client = await openMcpClient(wire.open, OPTIONS);
    const abort = new AbortController();
    const withdrawn = client.request("a", {}, { timeoutMs: 60_000, signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(withdrawn).rejects.toThrow("enough");
    await expect(client.request("b", {}, { timeoutMs: 1 })).rejects.toThrow("did not answer within 0.001 s");
    const cancelled = wire.sent.filter((message) => message.method === "notifications/cancelled");
    expect(cancelled.map((message) => message.params)).toEqual([{ requestId: 2 }, { requestId: 3 }]);
    await expect(client.request("c", {}, { timeoutMs: 60_000, signal: abort.signal })).rejects.toThrow("enough");
  });

  test("gives up what is under way and all that follows when the server is gone", async () => {
    const wire = memoryWire();
    const client = await openMcpClient(wire.open, OPTIONS);
    const requests = ["a", "b"].map((method) => client.request(method, {}, { timeoutMs: 60_000 }));
    wire.listener().onEnd(new Error("only this"), 2);
    wire.listener().onEnd(new Error("it ended"));
    expect(await Promise.allSettled(requests)).toMatchObject([{ reason: { message: "only this" } }, { reason: { message: "it ended" } }]);
    await expect(client.request("c", {}, { timeoutMs: 60_000 })).rejects.toThrow("it ended");
  });

  test("does not take another program for a server", async () => {
    const wire = memoryWire();
    const open: OpenWire = (listener) => ({
      ...wire.open(listener),
      async send(message) {
        listener.onMessage({ id: (message as Sent).id, result: { hello: "world" } });
      },
    });
    await expect(openMcpClient(open, OPTIONS)).rejects.toThrow("does not speak the Model Context Protocol");
    expect(wire.closed()).toBe(true);
  });
});

describe("over HTTP", () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  /** A server that opens properly, and answers everything else as the test says. */
  async function clientOf(answer: (message: Sent, response: ServerResponse) => void): Promise<{ client: McpClient; headers: string[] }> {
    const headers: string[] = [];
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (piece: Buffer) => (text += piece.toString()));
      request.on("end", () => {
        headers.push([request.headers["mcp-session-id"], request.headers["mcp-protocol-version"]].join());
        const message = JSON.parse(text) as Sent;
        if (message.method === "initialize") {
          response.writeHead(200, { "content-type": "application/json", "mcp-session-id": "s1" });
          response.end(JSON.stringify({ id: message.id, result: INITIALIZED }));
        } else if (message.id === undefined) response.writeHead(202).end();
        else answer(message, response);
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    return { client: await openMcpClient(httpWire({ url, headers: {} }), OPTIONS), headers };
  }
  const ask = (client: McpClient): Promise<unknown> => client.request("tools/call", {}, { timeoutMs: 60_000 });

  test("keeps the session and the version, and reads events however they are cut", async () => {
    const { client, headers } = await clientOf(({ id }, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const data = JSON.stringify({ id, result: { text: "größe" } }, null, 1);
      const events = `: hello\r\n\r\nevent: message\r\ndata: {"method":"notifications/message"}\r\n\r\n${data
        .split("\n")
        .map((line) => `data: ${line}\r\n`)
        .join("")}\r\n`;
      const bytes = Buffer.from(events);
      for (let at = 0; at < bytes.length; at += 3) response.write(bytes.subarray(at, at + 3));
      response.end();
    });
    expect(await ask(client)).toEqual({ text: "größe" });
    expect(headers).toEqual([",", "s1,2025-03-26", "s1,2025-03-26"]);
  });

  test.each<[string, RegExp, (message: Sent, response: ServerResponse) => void]>([
    ["refuses", /answered 404: no session/, (_, response) => response.writeHead(404).end("no session")],
    [
      "breaks off",
      /aborted|complete/,
      (_, response) => response.writeHead(200, { "content-type": "text/event-stream" }).write("data: {", () => response.destroy()),
    ],
    [
      "ends early",
      /before it was complete/,
      (_, response) => response.writeHead(200, { "content-type": "text/event-stream" }).end(": nothing\n\n"),
    ],
    ["answers something else", /no JSON: <html>/, (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>")],
  ])("a server that %s is a failed call, and no more", async (_, words, answer) => {
    let isFirst = true;
    const { client } = await clientOf((message, response) => {
      if (!isFirst)
        return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ id: message.id, result: 1 }));
      isFirst = false;
      answer(message, response);
    });
    await expect(ask(client)).rejects.toThrow(words);
    expect(await ask(client)).toBe(1);
  });
});
