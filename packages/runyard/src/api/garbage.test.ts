import { randomBytes } from "node:crypto";
import { problemSchema, ROUTES } from "@runyard/sdk/contract";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Door, openDoor, OWNER, sendBytes } from "./testing/door.ts";

let door: Door;
beforeAll(async () => {
  door = await openDoor();
});
afterAll(() => door.close());

/** Clean: an answer of the client's fault (or none of it), as a problem or a page, with nothing in the error log. */
async function expectClean(response: Response): Promise<void> {
  expect(response.status).toBeLessThan(500);
  const isPage = response.headers.get("content-type")?.startsWith("text/html") === true;
  if (isPage) expect(["/login", "/docs"]).toContain(new URL(response.url).pathname);
  if (response.status >= 400 && !isPage) problemSchema.parse(await response.json());
  else await response.body?.cancel();
  expect(door.log.filter(({ level }) => level === "error")).toEqual([]);
}

describe("bytes that are no request", () => {
  test("are answered with a problem or dropped, and the door stays open", async () => {
    const olderParser = Number(process.versions["llhttp"]?.split(".")[0]) < 9;
    const samples: (string | Buffer)[] = [
      "GARBAGE\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET /livez HTTP/1.1\r\n\r\n",
      "GET /livez HTTP/1.0\r\n\r\n",
      "GET livez HTTP/1.1\r\nHost: x\r\n\r\n",
      // The parser of the oldest Node.js that will do takes a blank in a name; such a header has no meaning here.
      ...(olderParser ? [] : [`GET /livez HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nBad Header: 1\r\n\r\n`]),
      `GET /livez HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nX: ${"a".repeat(70_000)}\r\n\r\n`,
      `POST /v1/agent-runs HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `POST /v1/agent-runs HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nAuthorization: Bearer owner\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      `CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\n\r\n`,
      ...Array.from({ length: 40 }, () => randomBytes(200)),
    ];
    for (const bytes of samples) {
      const answer = await sendBytes(door.port, Buffer.concat([Buffer.from(bytes as string, "latin1"), Buffer.from("\r\n\r\n")]));
      if (answer !== "") expect(answer).toMatch(/^HTTP\/1\.1 4\d\d [^]*x-request-id: req_[^]*"code":"/i);
    }
    expect((await door.fetch("/livez")).status).toBe(200);
    expect(door.log.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("an upgrade that nobody offers is an ordinary request", async () => {
    const upgrade = `GET /livez HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n`;
    expect(await sendBytes(door.port, upgrade)).toContain("200 OK");
    const expecting = `GET /livez HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\nExpect: the-impossible\r\nConnection: close\r\n\r\n`;
    expect(await sendBytes(door.port, expecting)).toContain("x-request-id");
  });
});

describe("input from fast-check", () => {
  const json = fc.oneof(
    fc.json({ maxDepth: 6 }),
    fc.string({ unit: "binary" }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  );
  const nearRun = fc.record(
    {
      task: fc.oneof(fc.string({ unit: "binary" }), fc.anything()),
      repositoryUrl: fc.oneof(fc.string({ unit: "binary" }), fc.anything()),
      branch: fc.anything(),
      agent: fc.record({ profile: fc.anything(), command: fc.anything() }, { requiredKeys: [] }),
      model: fc.anything(),
      permissionPolicy: fc.anything(),
      settings: fc.record(
        {
          timeout: fc.anything(),
          sandboxDriver: fc.anything(),
          sandboxType: fc.anything(),
          maxRetries: fc.anything(),
          retryStrategy: fc.anything(),
          retryableErrors: fc.anything(),
          recovery: fc.anything(),
        },
        { requiredKeys: [] },
      ),
      verify: fc.oneof(fc.anything(), fc.array(fc.record({ run: fc.anything(), kind: fc.anything(), timeout: fc.anything() }))),
      verifyRetries: fc.anything(),
      __proto__: fc.anything(),
    },
    { requiredKeys: [] },
  );
  const body = fc.oneof(
    json,
    nearRun.map((value) => JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ?? ""),
  );

  test("no body makes the server fail", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    const paths = ["/v1/agent-runs", `/v1/agent-runs/${id}/permissions/perm_1_2`, `/v1/agent-runs/${id}/questions/ask_1_2`];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), body, async (path, text) => {
        await expectClean(await door.fetch(path, { method: "POST", body: text, headers: { "content-type": "application/json" } }));
      }),
      { numRuns: 400 },
    );
  });

  test("no path and no query makes the server fail", async () => {
    const { id } = door.engine.addRun(OWNER.orgId);
    door.engine.append(id, "run.completed");
    const paths = Object.values(ROUTES).map((route) => route.path);
    const segment = fc.oneof(
      fc.string({ unit: "binary" }).map(encodeURIComponentSafely),
      fc.constantFrom(id, "%00", "%2f", "%E0%A4%A", "..", ".", "%"),
    );
    const query = fc.array(fc.tuple(fc.constantFrom("after", "limit", "follow", "cursor", "status", "x"), segment), { maxLength: 3 });
    const accept = fc.constantFrom("application/json", "text/event-stream", "application/x-ndjson", "*/*");
    await fc.assert(
      fc.asyncProperty(fc.tuple(fc.constantFrom(...paths), segment), query, accept, async ([path, value], pairs, type) => {
        const target = `${path.replaceAll(/\{\w+\}/g, () => value)}?${pairs.map((pair) => pair.join("=")).join("&")}`;
        await expectClean(await door.fetch(target, { headers: { accept: type } }));
      }),
      { numRuns: 400 },
    );
  });
});

function encodeURIComponentSafely(text: string): string {
  return encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, "?"));
}
