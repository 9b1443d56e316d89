import type { IncomingMessage, ServerResponse } from "node:http";
import { runIdSchema } from "@runyard/sdk/contract";
import { z } from "zod";
import { type GatewayHealth, problemsOf, providersSchema, registerRunSchema, takeSchema } from "./protocol.ts";
import type { ModelLists } from "./provider-models.ts";
import type { Registry } from "./registry.ts";

/** Certificates take much of it. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export interface ControlOptions {
  readonly registry: Registry;
  readonly lists: ModelLists;
  readonly health: () => GatewayHealth;
  /** False when another process was faster. */
  readonly take: (replaces: number) => Promise<boolean>;
}

/** The control API: JSON over HTTP on a socket that only this user can open. It alone sees keys and tokens, and hands them to the next gateway. */
export function createControl(options: ControlOptions): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    response.on("error", () => undefined);
    serve(options, request, response).catch((error: unknown) => {
      const message = error instanceof z.ZodError ? problemsOf(error) : messageOf(error);
      send(response, 400, { error: message });
    });
  };
}

function messageOf(error: unknown): string {
  return error instanceof SyntaxError ? "the body is not JSON" : error instanceof Error ? error.message : String(error);
}

async function serve({ registry, lists, health, take }: ControlOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const runId = /^\/runs\/([^/]+)$/.exec(request.url ?? "")?.[1];
  const route = runId === undefined ? `${request.method} ${request.url}` : `${request.method} /runs`;
  switch (route) {
    case "GET /health":
      return send(response, 200, health());
    case "GET /state":
      return send(response, 200, registry.state());
    case "GET /models":
      return send(response, 200, await lists.of(registry.providers()));
    case "GET /watch":
      // Never ended: its end is this process's.
      response.writeHead(200).flushHeaders();
      return;
    case "PUT /providers":
      registry.setProviders(providersSchema.parse(await readJson(request)));
      return send(response, 204);
    case "PUT /runs":
      registry.openRun({ runId: runIdSchema.parse(runId), ...registerRunSchema.parse(await readJson(request)) });
      return send(response, 204);
    case "DELETE /runs":
      registry.closeRun(runIdSchema.parse(runId));
      return send(response, 204);
    case "POST /take":
      return send(response, (await take(takeSchema.parse(await readJson(request)).replaces)) ? 200 : 409, {});
    default:
      send(response, 404, { error: `there is no ${route}` });
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) throw new Error(`the body is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk as Buffer);
  }
  return JSON.parse(Buffer.concat(chunks).toString());
}

function send(response: ServerResponse, status: number, body?: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
