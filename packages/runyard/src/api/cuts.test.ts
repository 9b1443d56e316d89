// Readers of every kind follow one growing log through a line that is cut at random: each sees every event
// once, in order, byte for byte what the others see.
import { createHash } from "node:crypto";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { RunyardClient } from "@runyard/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { serve, type Served } from "./testing/served.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const [READERS, EVENTS] = full ? [100, 10_000] : [8, 1_500];

interface Line {
  readonly port: number;
  readonly cuts: number;
  close(): Promise<void>;
}

/** A line to the server: every connection is cut after a random number of bytes. */
async function openLine(to: number, random: () => number): Promise<Line> {
  const ends = new Set<Socket>();
  let cuts = 0;
  const line = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    let left = 2_000 + random() * 400_000;
    for (const end of [near, far]) {
      ends.add(end);
      end.on("error", () => undefined);
      end.once("close", () => {
        ends.delete(end);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on("data", (bytes: Buffer) => {
      left -= bytes.length;
      if (left > 0) {
        if (!near.write(bytes)) far.pause();
        return;
      }
      cuts += 1;
      // The last bytes go out: a cut is in the middle of something.
      near.end(bytes.subarray(0, Math.floor(random() * bytes.length)));
      far.destroy();
    });
    near.on("drain", () => far.resume());
  });
  await new Promise<void>((resolve) => line.listen(0, "127.0.0.1", resolve));
  return {
    port: (line.address() as AddressInfo).port,
    get cuts() {
      return cuts;
    },
    async close() {
      for (const end of ends) end.destroy();
      await new Promise((resolve) => line.close(resolve));
    },
  };
}

const lines: Line[] = [];
let served: Served;
beforeAll(async () => {
  served = await serve({ allowedHosts: () => lines.map(({ port }) => `127.0.0.1:${port}`), recheckMs: 30_000 });
});
afterAll(() => served?.close());

test(`${READERS} SSE and ${READERS} WebSocket readers of ${EVENTS} events, on a line that is cut at random`, async () => {
  let seed = 7;
  const random = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff) / 0x7fffffff;
  const line = await openLine(served.door.port, random);
  lines.push(line);
  const { id } = await served.client.runs.create({ task: "x", repositoryUrl: "/r" });
  const run = await served.claim(id);

  /** What a reader saw: how many events, and a digest of all of them in order. */
  const digest = () => {
    const hash = createHash("sha256");
    let last = 0;
    return {
      take(seq: number, text: string): void {
        expect(seq).toBe(last + 1);
        last = seq;
        hash.update(text);
      },
      last: () => last,
      result: () => `${last} ${hash.digest("hex")}`,
    };
  };
  const bySse = async (): Promise<string> => {
    const seen = digest();
    const client = new RunyardClient({ baseUrl: `http://127.0.0.1:${line.port}`, token: "token-a", retryDelayMs: 5 });
    for await (const event of client.runs.events(id)) seen.take(event.seq, JSON.stringify(event));
    return seen.result();
  };
  const bySocket = async (): Promise<string> => {
    const seen = digest();
    for (let isDone = false; !isDone;) {
      const socket = new WebSocket(`ws://127.0.0.1:${line.port}/v1/agent-runs/${id}/stream?after=${seen.last()}`, {
        headers: { authorization: "Bearer token-a" },
      });
      socket.on("error", () => undefined);
      socket.on("message", (data: Buffer) => {
        const event = JSON.parse(data.toString()) as { seq?: number };
        if (event.seq === undefined) isDone = true;
        else seen.take(event.seq, JSON.stringify(event));
      });
      await new Promise((resolve) => socket.once("close", resolve));
    }
    return seen.result();
  };
  const readers = Array.from({ length: READERS }, () => [bySse(), bySocket()]).flat();
  for (let said = 0; said < EVENTS; said += 50) {
    const text = "x".repeat(1 + random() * 400);
    await served.say(
      run,
      Array.from({ length: 50 }, (_, i) => ({ type: "log" as const, data: { text: `${said + i} ${text}` } })),
    );
  }
  await served.complete(run);
  const results = await Promise.all(readers);
  expect(new Set(results).size).toBe(1);
  expect(Number(results[0]?.split(" ")[0])).toBeGreaterThan(EVENTS);
  expect(line.cuts).toBeGreaterThan(READERS);
  await line.close();
}, 600_000);
