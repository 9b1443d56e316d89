/** A message of JSON-RPC, as it is read: nothing in it is certain. */
export interface McpMessage {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message?: unknown };
}

/** A way to one server. */
export interface McpWire {
  /** Sends a message; rejects where it did not arrive. What comes back is heard by the wire's listener. */
  send(message: object): Promise<void>;
  /** Said once, when the server has told the version of the protocol that it speaks. */
  speaks(version: string): void;
  close(): void;
}

export interface McpListener {
  onMessage(message: McpMessage): void;
  /** Nothing more will come: of anything, or of the request with this id. */
  onEnd(error: Error, id?: number): void;
}

export type OpenWire = (listener: McpListener) => McpWire;

export interface McpClient {
  /** The server's result; rejects with its error, with the signal's reason, or where it takes longer than `timeoutMs`. */
  request(method: string, params: object, options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<unknown>;
  close(): void;
}

/** The version of the protocol that is offered; a server may answer with another. */
const PROTOCOL_VERSION = "2025-06-18";
const METHOD_NOT_FOUND = -32601;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/**
 * A client of MCP that calls tools and offers nothing itself. Written here, because the official one would make this
 * program larger by a third.
 */
export async function openMcpClient(
  open: OpenWire,
  options: { readonly clientInfo: { readonly name: string; readonly version: string }; readonly timeoutMs: number },
): Promise<McpClient> {
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let ended: Error | null = null;

  const end = (error: Error, id?: number): void => {
    if (id === undefined) ended ??= error;
    for (const [known, { reject }] of pending) if (id === undefined || known === id) reject(error);
  };
  const hear = (message: McpMessage): void => {
    const { id, method } = message;
    if (typeof method === "string") {
      // Whatever a server says unasked is of no use here, and what it asks must be answered.
      const answer = method === "ping" ? { result: {} } : { error: { code: METHOD_NOT_FOUND, message: `There is no ${method} here` } };
      if (id !== undefined) tell({ id, ...answer });
      return;
    }
    const asked = typeof id === "number" ? pending.get(id) : undefined;
    if (message.error === undefined) asked?.resolve(message.result);
    else asked?.reject(new Error(typeof message.error.message === "string" ? message.error.message : "it answered with an error"));
  };
  const wire = open({ onMessage: hear, onEnd: end });
  /** Where it does not arrive, nobody is there to be told. */
  const tell = (message: object): void => void wire.send({ jsonrpc: "2.0", ...message }).catch(() => undefined);

  const request: McpClient["request"] = async (method, params, { timeoutMs, signal }) => {
    if (ended !== null) throw ended;
    signal?.throwIfAborted();
    const id = (lastId += 1);
    const giveUp = (reason: Error): void => {
      tell({ method: "notifications/cancelled", params: { requestId: id } });
      pending.get(id)?.reject(reason);
    };
    const onAbort = (): void => giveUp(signal?.reason as Error);
    const timer = setTimeout(() => giveUp(new Error(`it did not answer within ${timeoutMs / 1_000} s`)), timeoutMs);
    signal?.addEventListener("abort", onAbort);
    try {
      return await new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject });
        wire.send({ jsonrpc: "2.0", id, method, params }).catch(reject);
      });
    } finally {
      pending.delete(id);
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  };

  try {
    const { clientInfo, timeoutMs } = options;
    const asked = { protocolVersion: PROTOCOL_VERSION, capabilities: {}, clientInfo };
    const answer = (await request("initialize", asked, { timeoutMs })) as { protocolVersion?: unknown } | undefined;
    if (typeof answer?.protocolVersion !== "string") throw new Error("it does not speak the Model Context Protocol");
    wire.speaks(answer.protocolVersion);
    await wire.send({ jsonrpc: "2.0", method: "notifications/initialized" });
  } catch (error) {
    wire.close();
    throw error;
  }
  return { request, close: () => wire.close() };
}
