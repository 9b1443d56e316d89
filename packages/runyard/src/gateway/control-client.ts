import http from "node:http";
import { z } from "zod";
import {
  type GatewayHealth,
  gatewayHealthSchema,
  type GatewayState,
  gatewayStateSchema,
  type Provider,
  type ProviderModels,
  providerModelsSchema,
  type RegisteredRun,
} from "./protocol.ts";

const TIMEOUT_MS = 5_000;
/** Taking the name includes waiting for the port of the gateway before. */
const TAKE_TIMEOUT_MS = 20_000;
/** Providers are asked meanwhile. */
const MODELS_TIMEOUT_MS = 20_000;

/** Nobody answers at a control socket, or not in time. */
export class GatewayAway extends Error {
  override readonly name = "GatewayAway";
}

/** What can be said to a gateway through its control socket. All calls reject with GatewayAway when nobody answers. */
export interface ControlClient {
  health(): Promise<GatewayHealth>;
  state(): Promise<GatewayState>;
  setProviders(providers: readonly Provider[]): Promise<void>;
  openRun(run: RegisteredRun): Promise<void>;
  closeRun(runId: string): Promise<void>;
  /** What each provider says of its models. */
  models(): Promise<ProviderModels[]>;
  /** Makes it the gateway; false when another process was faster. */
  take(replaces: number): Promise<boolean>;
  /** Calls back once when the process behind the socket is gone or leaves. */
  watch(onGone: () => void): { close(): void };
}

export function controlClient(socketPath: string): ControlClient {
  const ask = (method: string, path: string, options: { body?: unknown; timeoutMs?: number } = {}): Promise<Answer> =>
    request(socketPath, { method, path, ...options });
  return {
    health: async () => gatewayHealthSchema.parse(accepted(await ask("GET", "/health"))),
    state: async () => gatewayStateSchema.parse(accepted(await ask("GET", "/state"))),
    async setProviders(providers) {
      accepted(await ask("PUT", "/providers", { body: providers }));
    },
    async openRun({ runId, ...run }) {
      accepted(await ask("PUT", `/runs/${runId}`, { body: run }));
    },
    async closeRun(runId) {
      accepted(await ask("DELETE", `/runs/${runId}`));
    },
    models: async () => z.array(providerModelsSchema).parse(accepted(await ask("GET", "/models", { timeoutMs: MODELS_TIMEOUT_MS }))),
    async take(replaces) {
      const answer = await ask("POST", "/take", { body: { replaces }, timeoutMs: TAKE_TIMEOUT_MS });
      if (answer.status === 409) return false;
      accepted(answer);
      return true;
    },
    watch: (onGone) => watch(socketPath, onGone),
  };
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

function accepted({ status, body }: Answer): unknown {
  if (status < 300) return body;
  const words = typeof body === "object" && body !== null && "error" in body ? String(body.error) : `status ${status}`;
  throw new Error(`The gateway refused: ${words}`);
}

async function request(socketPath: string, ask: { method: string; path: string; body?: unknown; timeoutMs?: number }): Promise<Answer> {
  return await new Promise<Answer>((resolve, reject) => {
    const away = (error: Error): void => reject(new GatewayAway(`The gateway does not answer: ${error.message}`, { cause: error }));
    const call = http.request({
      socketPath,
      method: ask.method,
      path: ask.path,
      agent: false,
      headers: { "content-type": "application/json" },
    });
    const timer = setTimeout(() => call.destroy(new Error("it took too long")), ask.timeoutMs ?? TIMEOUT_MS);
    call.once("close", () => clearTimeout(timer));
    call.once("error", away);
    call.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", away);
      response.once("end", () => {
        try {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text) });
        } catch (error) {
          reject(new Error("The gateway answered something that is not JSON.", { cause: error }));
        }
      });
    });
    call.end(ask.body === undefined ? undefined : JSON.stringify(ask.body));
  });
}

/** A request whose answer never ends but with the process. It does not keep this process alive. */
function watch(socketPath: string, onGone: () => void): { close(): void } {
  let told = false;
  const tell = (): void => {
    if (!told) onGone();
    told = true;
  };
  const call = http.request({ socketPath, method: "GET", path: "/watch", agent: false });
  call.once("socket", (socket) => socket.unref());
  call.once("response", (response) =>
    response
      .on("error", () => undefined)
      .once("close", tell)
      .resume(),
  );
  call.once("error", tell);
  call.end();
  return {
    close() {
      told = true;
      call.destroy();
    },
  };
}
