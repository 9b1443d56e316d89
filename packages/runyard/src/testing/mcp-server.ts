import { randomUUID } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

export interface TestMcpServer extends AsyncDisposable {
  /** On loopback. */
  readonly url: string;
  /** Of every request that came. */
  readonly seen: { readonly method: string; readonly headers: IncomingHttpHeaders }[];
  close(): Promise<void>;
}

/**
 * A real MCP server over streamable HTTP. Its tools: `shout` (the text in capitals, and the progress of that as an event
 * before it), `fail`, and `headers` (the headers of the call, as a server would tell them that means no good).
 */
export async function startMcpServer(): Promise<TestMcpServer> {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const seen: TestMcpServer["seen"] = [];
  const open = async (): Promise<StreamableHTTPServerTransport> => {
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
    });
    await testMcpServer().connect(transport);
    return transport;
  };
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    seen.push({ method: request.method ?? "", headers: request.headers });
    const known = sessions.get(String(request.headers["mcp-session-id"]));
    await (known ?? (await open())).handleRequest(request, response);
  };
  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  return { url, seen, close, [Symbol.asyncDispose]: close };
}

function testMcpServer(): McpServer {
  const server = new McpServer({ name: "test", version: "1" }, { capabilities: { logging: {} } });
  const text = (words: string) => ({ content: [{ type: "text" as const, text: words }] });
  server.registerTool(
    "shout",
    { description: "Says it in capitals", inputSchema: { text: z.string() } },
    async ({ text: words }, extra) => {
      await extra.sendNotification({ method: "notifications/message", params: { level: "info", data: "clears its throat" } });
      return text(words.toUpperCase());
    },
  );
  server.registerTool("fail", { description: "Fails" }, () => ({ ...text("it went wrong"), isError: true }));
  server.registerTool("headers", { description: "Tells the headers" }, (extra) => text(JSON.stringify(extra.requestInfo?.headers)));
  return server;
}
