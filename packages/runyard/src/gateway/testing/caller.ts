import http from "node:http";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModel } from "ai";
import { Agent, fetch as undiciFetch } from "undici";
import { doorSocket } from "../files.ts";
import type { Gateway } from "../client.ts";
import { QUESTION_OF_CHAT } from "./provider.ts";

/** What a plain client saw, to the last byte. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** False when the connection broke before the answer's end. */
  readonly complete: boolean;
}

export interface RawCall {
  readonly token?: string;
  readonly body?: unknown;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  /** Called with each piece of the answer; the answer's stream can be paused or destroyed through it. */
  readonly onData?: (piece: Buffer, response: http.IncomingMessage) => void;
  /** False: the answer's body is thrown away as it comes. */
  readonly isKept?: boolean;
  /** Use the TCP port instead of the socket. */
  readonly port?: number;
}

export { QUESTION_OF_CHAT as QUESTION } from "./provider.ts";

/** One request at the gateway's door, without a library that could hide something. */
export async function call(gateway: Gateway, options: RawCall = {}): Promise<RawAnswer> {
  const { token, body = QUESTION_OF_CHAT, path = "/v1/chat/completions", method = "POST", onData, port, isKept = true } = options;
  const payload = method === "GET" ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  const headers = {
    "content-type": "application/json",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...options.headers,
  };
  const where = port === undefined ? { socketPath: doorSocket(gateway.doorDir) } : { host: "127.0.0.1", port };
  return await new Promise((resolve, reject) => {
    const request = http.request({ ...where, path, method, headers, agent: false });
    request.once("error", reject);
    request.once("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => {
        if (isKept) pieces.push(piece);
        onData?.(piece, response);
      });
      response.on("error", () => undefined);
      response.once("close", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(pieces).toString(),
          complete: response.complete,
        }),
      );
    });
    request.end(payload);
  });
}

/** The client library that the built-in agent uses, through the gateway's socket. */
export function modelAt(gateway: Gateway, options: { token: string; model?: string | null }): LanguageModel {
  const dispatcher = new Agent({ connect: { socketPath: doorSocket(gateway.doorDir) } });
  const fetch = ((url: string, init: object) => undiciFetch(url, { ...init, dispatcher })) as unknown as typeof globalThis.fetch;
  return createOpenAICompatible({ name: "gateway", baseURL: "http://gateway/v1", apiKey: options.token, fetch })(
    options.model ?? "runyard",
  );
}

/** Waits for something that happens soon; the limit is there for tests that fail. */
export async function until<T>(look: () => T | undefined | null | false, what: string): Promise<T> {
  for (const giveUpAt = Date.now() + 50_000; Date.now() < giveUpAt; await new Promise((resolve) => setTimeout(resolve, 10))) {
    const found = look();
    if (found !== undefined && found !== null && found !== false) return found;
  }
  throw new Error(`waited in vain for ${what}`);
}
