import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** One request, said again and again over a number of connections. */
export interface Load {
  readonly url: string;
  readonly path: string;
  /** POST, unless it says otherwise. */
  readonly method?: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  readonly forMs: number;
}

export interface LoadResult {
  readonly perSecond: number;
  /** Milliseconds of each answer. */
  readonly latencies: readonly number[];
}

/**
 * Asks over plain sockets, one request at a time on each: a client of Node's own would cost more than the
 * least server. Throws at the first answer that is not what it should be.
 */
export async function askAgain(load: Load): Promise<LoadResult> {
  const { hostname, port } = new URL(load.url);
  const { method = "POST" } = load;
  const expected = method === "POST" ? 201 : 200;
  const lines = [`${method} ${load.path} HTTP/1.1`, `host: ${hostname}:${port}`, `content-length: ${Buffer.byteLength(load.body)}`];
  for (const [name, value] of Object.entries(load.headers)) lines.push(`${name}: ${value}`);
  const request = Buffer.from(`${lines.join("\r\n")}\r\n\r\n${load.body}`);
  const latencies: number[] = [];
  const begunAt = performance.now();
  const sayAgain = async (): Promise<void> => {
    const socket = connect(Number(port), hostname).setNoDelay(true);
    await once(socket, "connect");
    const answers = answerReader(socket);
    while (performance.now() - begunAt < load.forMs) {
      const askedAt = performance.now();
      socket.write(request);
      const status = await answers.next();
      if (status !== expected) throw new Error(`A request was answered with ${status}`);
      latencies.push(performance.now() - askedAt);
    }
    socket.destroy();
  };
  await Promise.all(Array.from({ length: load.connections }, sayAgain));
  return { perSecond: (latencies.length * 1000) / (performance.now() - begunAt), latencies };
}

/** Reads answers that say how long they are; gives the status of each. */
function answerReader(socket: Socket): { next(): Promise<number> } {
  let got = Buffer.alloc(0);
  let told: ((status: number) => void) | null = null;
  let failed: ((error: Error) => void) | null = null;
  socket.on("data", (data) => {
    got = got.length === 0 ? data : Buffer.concat([got, data]);
    const end = got.indexOf("\r\n\r\n");
    if (end === -1) return;
    const head = got.toString("latin1", 0, end);
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    if (length === undefined) {
      failed?.(new Error("An answer does not say how long it is"));
      return;
    }
    if (got.length < end + 4 + Number(length)) return;
    got = got.subarray(end + 4 + Number(length));
    told?.(Number(head.slice(9, 12)));
  });
  socket.on("close", () => failed?.(new Error("The server closed a connection")));
  return {
    next: () =>
      new Promise((resolve, reject) => {
        told = resolve;
        failed = reject;
      }),
  };
}
