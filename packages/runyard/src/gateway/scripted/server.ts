import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Provider } from "../protocol.ts";
import { errorBody } from "../wire-format.ts";
import { chatDialect } from "./chat.ts";
import { type Dialect, sendJson } from "./dialect.ts";
import { nextTurn, SCRIPTED_MODEL } from "./model.ts";
import { responsesDialect } from "./responses.ts";

const CHARS_PER_TOKEN = 4;
const DIALECTS: readonly Dialect[] = [chatDialect, responsesDialect];

/**
 * Starts the scripted model: an HTTP server on loopback that speaks what the gateway speaks, so that
 * simulated runs take the way that real ones take. It lives as long as its process.
 */
export async function startScriptedServer(): Promise<Provider> {
  const apiKey = randomBytes(24).toString("hex");
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    if (request.headers.authorization !== `Bearer ${apiKey}`) return sendError(response, 401, "This is not the scripted model's key.");
    serve(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendError(response, 400, error instanceof Error ? error.message : String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return { name: "scripted", api: "openai", baseUrl, apiKey, model: SCRIPTED_MODEL };
}

function sendError(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(errorBody({ status, code: "scripted_model", message }));
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "GET" && request.url === "/v1/models") {
    return sendJson(response, { object: "list", data: [{ id: SCRIPTED_MODEL, object: "model", created: 0, owned_by: "runyard" }] });
  }
  const dialect = request.method === "POST" ? DIALECTS.find((known) => known.path === request.url) : undefined;
  if (dialect === undefined)
    return sendError(response, 404, "The scripted model serves chat completions, Responses and the list of models.");
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const { conversation, stream, includeUsage, counted } = dialect.read(JSON.parse(body.toString()));
  const turn = nextTurn(conversation);
  const answer = {
    id: createHash("sha256").update(body).digest("hex").slice(0, 24),
    turn,
    inputTokens: counted.reduce((sum: number, part) => sum + tokensIn(part), 0),
    outputTokens: tokensIn(turn),
    includeUsage,
  };
  if (stream) await dialect.sendStream(response, answer);
  else dialect.sendWhole(response, answer);
}

/** From the lengths of the real texts, so that longer conversations count more. */
function tokensIn(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / CHARS_PER_TOKEN);
}
