import { connect, createServer, type Server } from "node:net";
import { type RunPage, type Run, RunyardError } from "@runyard/sdk/contract";
import { RunyardClient } from "@runyard/sdk";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startChild, type TestChild } from "../testing/child.ts";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
let doors: TestChild[] = [];
/** What the engine is told of repositories. */
let repositoryIsGone = false;
let inspections = 0;

beforeAll(async () => {
  served = await serve({
    inspectRepository: async (url, branch) => {
      inspections += 1;
      if (repositoryIsGone) throw new RunyardError("repository_not_usable", "There is no repository there.");
      return { root: url, branch: branch ?? "main", commit: "a".repeat(40), notices: [] };
    },
  });
  const env = { DATABASE_URL: served.database.connectionString };
  doors = await Promise.all(Array.from({ length: 4 }, () => startChild(new URL("testing/door-process.ts", import.meta.url), env)));
});
afterAll(async () => {
  await Promise.all(doors.map((door) => door.end()));
  await served?.close();
});
beforeEach(async () => {
  repositoryIsGone = false;
  await admin("delete from runyard.token_creates");
});

/** Past every organization, as no token can. */
async function admin(text: string): Promise<void> {
  for (const orgId of ["org_a", "org_b"]) await served.database.db.inOrganization(orgId, (tx) => tx.query(text));
}
const limitTo = (creates: number | null): Promise<void> => admin(`update runyard.tokens set creates_per_minute = ${creates ?? "null"}`);

const BODY = { task: "Fix it", repositoryUrl: "/repository", permissionPolicy: { ask: ["edit"] } };

interface PostOptions {
  readonly key?: string;
  readonly body?: unknown;
  readonly token?: string;
  readonly url?: string;
}
function post({ key, body = BODY, token = "token-a", url = served.door.url }: PostOptions = {}): Promise<Response> {
  const headers = {
    authorization: `Bearer ${token}`,
    "content-type": "application/json",
    ...(key !== undefined && { "idempotency-key": key }),
  };
  return fetch(`${url}/v1/agent-runs`, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
}
const runOf = async (response: Response): Promise<Run> => {
  expect(response.status).toBe(201);
  return (await response.json()) as Run;
};
const problemOf = async (response: Response): Promise<unknown> => [response.status, ((await response.json()) as { code: string }).code];

/** How many runs an organization has. */
async function countRuns(orgId = "org_a"): Promise<number> {
  const rows = await served.database.db.queryInOrganization<{ n: number }>(orgId, "select count(*)::int as n from runyard.runs");
  return rows[0]?.n ?? 0;
}
const inParallel = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));
const anyDoor = (index: number): string => doors[index % doors.length]?.line ?? "";

describe("a create under a key", () => {
  test("of 200 from four processes under 20 keys, 20 make a run, and each answer is its key's run", async () => {
    const before = await countRuns();
    const answers = await inParallel(200, async (index) => {
      const key = `many-${Math.floor(index / 4) % 20}`;
      const response = await post({ key, url: anyDoor(index) });
      return { key, replayed: response.headers.get("idempotent-replayed"), id: (await runOf(response)).id };
    });
    expect((await countRuns()) - before).toBe(20);
    expect(new Set(answers.map(({ id }) => id)).size).toBe(20);
    expect(new Set(answers.map(({ id, key }) => `${id} ${key}`)).size).toBe(20);
    expect(answers.filter(({ replayed }) => replayed === null)).toHaveLength(20);
    expect(answers.filter(({ replayed }) => replayed === "true")).toHaveLength(180);
  });

  test("the control: the same creates without a key make a run each", async () => {
    const before = await countRuns();
    await inParallel(8, async (index) => runOf(await post({ url: anyDoor(index) })));
    expect((await countRuns()) - before).toBe(8);
  });

  test("gives the same run again, with its address, however the same body is written", async () => {
    const first = await post({ key: "written" });
    const { id } = await runOf(first);
    const others = [
      BODY,
      `{ "permissionPolicy" : {"deny": [], "ask": ["edit"]},\n"repositoryUrl":"/repository", "task": "  Fix\\u0020it " }`,
      { ...BODY, idempotencyKey: "written" },
    ];
    for (const body of others) {
      const again = await post({ key: "written", body });
      expect([again.headers.get("location"), again.headers.get("idempotent-replayed")]).toEqual([`/v1/agent-runs/${id}`, "true"]);
      expect((await runOf(again)).id).toBe(id);
    }
    expect((await runOf(await post({ body: { idempotencyKey: "written", ...BODY } }))).id).toBe(id);
    expect(first.headers.get("idempotent-replayed")).toBeNull();
  });

  test.each([
    ["another task", { ...BODY, task: "Fix that" }],
    ["one field more", { ...BODY, model: "m" }],
    ["one field less", { task: BODY.task, repositoryUrl: BODY.repositoryUrl }],
    ["a list in another order", { ...BODY, permissionPolicy: { ask: ["edit", "read"] } }],
  ])("is refused for another request: %s", async (_, body) => {
    const before = await runOf(await post({ key: "mismatch", body: { ...BODY, permissionPolicy: { ask: ["read", "edit"] } } }));
    expect(await problemOf(await post({ key: "mismatch", body }))).toEqual([422, "idempotency_mismatch"]);
    expect((await served.client.runs.get(before.id)).task).toBe("Fix it");
  });

  test("is refused for another request that comes at the same time, too", async () => {
    for (let round = 0; round < 4; round += 1) {
      const before = await countRuns();
      const answers = await inParallel(24, async (index) => {
        const task = index % 2 === 0 ? "Fix it" : "Fix that";
        const response = await post({ key: `contested-${round}`, body: { ...BODY, task }, url: anyDoor(index) });
        return response.status === 201 ? (await runOf(response)).task === task : await problemOf(response);
      });
      expect(answers.filter((answer) => answer === true)).toHaveLength(12);
      expect(answers.filter((answer) => answer !== true)).toEqual(Array.from({ length: 12 }, () => [422, "idempotency_mismatch"]));
      expect((await countRuns()) - before).toBe(1);
    }
  });

  test("of another organization is another key", async () => {
    const mine = await runOf(await post({ key: "shared" }));
    const theirs = await runOf(await post({ key: "shared", token: "token-b", body: { ...BODY, task: "Something else" } }));
    expect(theirs.id).not.toBe(mine.id);
    expect((await runOf(await post({ key: "shared" }))).id).toBe(mine.id);
    const other = new RunyardClient({ baseUrl: served.door.url, token: "token-b" });
    await expect(other.runs.get(mine.id)).rejects.toMatchObject({ status: 404 });
  });

  test("of another token of the organization is the same key", async () => {
    await served.addToken("second", { orgId: "org_a", scopes: ["agent:execute"] });
    const { id } = await runOf(await post({ key: "two tokens".replace(" ", "-") }));
    expect((await runOf(await post({ key: "two-tokens", token: "second" }))).id).toBe(id);
  });

  test.each(["", " ", "a b", "tab\tbed", "x".repeat(256), "ü", "a, b"])("garbage is refused: %j", async (key) => {
    const before = await countRuns();
    expect(await problemOf(await post({ body: { ...BODY, idempotencyKey: key } }))).toEqual([422, "invalid_request"]);
    // fetch takes blanks off the ends of a header's value.
    if (key.trim() === key) expect(await problemOf(await post({ key }))).toEqual([422, "invalid_request"]);
    expect(await countRuns()).toBe(before);
  });

  test("any visible ASCII is a key, and header and body must not differ", async () => {
    const all = Array.from({ length: 94 }, (_, index) => String.fromCharCode(0x21 + index)).join("");
    for (const key of [all, "x".repeat(255), "'); drop table runyard.runs; --".replaceAll(" ", "_")]) {
      const { id } = await runOf(await post({ key }));
      expect((await runOf(await post({ key, body: { ...BODY, idempotencyKey: key } }))).id).toBe(id);
    }
    expect(await problemOf(await post({ key: "one", body: { ...BODY, idempotencyKey: "two" } }))).toEqual([422, "invalid_request"]);
  });

  test("answers after the run has ended and while its repository is gone, and looks at no repository", async () => {
    const { id } = await runOf(await post({ key: "ended" }));
    await served.complete(await served.claim(id));
    repositoryIsGone = true;
    inspections = 0;
    const again = await runOf(await post({ key: "ended" }));
    expect([again.id, again.status, again.queuePosition, inspections]).toEqual([id, "completed", null, 0]);
    // The control: a new create needs it.
    expect(await problemOf(await post({ key: "not-yet-used" }))).toEqual([422, "repository_not_usable"]);
    repositoryIsGone = false;
    // A create that was refused used no key up.
    expect((await post({ key: "not-yet-used", body: { ...BODY, task: "Another" } })).headers.get("idempotent-replayed")).toBeNull();
  });

  test("is forgotten after 24 hours, and old ones are removed in passing", async () => {
    const first = await runOf(await post({ key: "old" }));
    await inParallel(30, async (index) => runOf(await post({ key: `older-${index}` })));
    await admin("update runyard.idempotency_keys set expires_at = now() - interval '1 ms'");
    const second = await runOf(await post({ key: "old", body: { ...BODY, task: "Another" } }));
    expect(second.id).not.toBe(first.id);
    for (let more = 0; more < 6; more += 1) await post({ key: `fresh-${more}` });
    const left = "select count(*)::int as n from runyard.idempotency_keys where expires_at <= now()";
    expect(await served.database.db.queryInOrganization("org_a", left)).toEqual([{ n: 0 }]);
    expect((await runOf(await post({ key: "old", body: { ...BODY, task: "Another" } }))).id).toBe(second.id);
  });

  test("an expired key that many want at once goes to one of them", async () => {
    await post({ key: "wanted" });
    await admin("update runyard.idempotency_keys set expires_at = now() - interval '1 ms' where key = 'wanted'");
    const runs = await inParallel(16, async (index) => runOf(await post({ key: "wanted", url: anyDoor(index) })));
    expect(new Set(runs.map(({ id }) => id)).size).toBe(1);
  });
});

describe("creates of a token", () => {
  beforeEach(() => limitTo(25));
  afterAll(() => limitTo(600));

  test("from four processes at once: exactly as many as the limit are let in", async () => {
    const before = await countRuns();
    const answers = await inParallel(120, (index) => post({ key: `limited-${index}`, url: anyDoor(index) }));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(25);
    expect(statuses.filter((status) => status === 429)).toHaveLength(95);
    expect((await countRuns()) - before).toBe(25);
    const left = answers.flatMap(({ status, headers }) => (status === 201 ? [headers.get("ratelimit")?.match(/;r=(\d+);/)?.[1]] : []));
    expect(left.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 25 }, (_, index) => index));
    // Another token has a limit of its own.
    expect((await post({ token: "token-b" })).status).toBe(201);
    // Who was refused has not used the key.
    await limitTo(null);
    const refused = answers.flatMap(({ status }, index) => (status === 429 ? [`limited-${index}`] : []));
    for (const key of refused.slice(0, 5)) expect((await post({ key, body: { ...BODY, task: "Something else" } })).status).toBe(201);
  });

  test("say how the limit stands, and when to come back", async () => {
    await limitTo(2);
    const first = await post();
    expect([first.headers.get("ratelimit-policy"), first.headers.get("ratelimit")]).toEqual(['"creates";q=2;w=60', '"creates";r=1;t=60']);
    expect(first.headers.get("retry-after")).toBeNull();
    await post();
    const refused = await post();
    const [, after] = /^"creates";r=0;t=(\d+)$/.exec(refused.headers.get("ratelimit") ?? "") ?? [];
    expect(refused.headers.get("retry-after")).toBe(after);
    expect(Number(after)).toBeGreaterThan(0);
    expect(Number(after)).toBeLessThanOrEqual(60);
    expect(await refused.json()).toMatchObject({
      code: "rate_limited",
      status: 429,
      detail: expect.stringContaining("2 runs a minute") as string,
    });
  });

  test("slide: as one leaves the minute, one more is let in", async () => {
    await limitTo(3);
    for (let n = 0; n < 3; n += 1) expect((await post()).status).toBe(201);
    expect((await post()).status).toBe(429);
    await admin("update runyard.token_creates set at = at - interval '60 s' where at = (select min(at) from runyard.token_creates)");
    expect((await post()).status).toBe(201);
    expect((await post()).status).toBe(429);
    const rows = "select count(*)::int as n from runyard.token_creates";
    expect(await served.database.db.queryInOrganization("org_a", rows)).toEqual([{ n: 3 }]);
  });

  test("that are refused, and replays, take nothing; a replay is answered over the limit too", async () => {
    await limitTo(2);
    const { id } = await runOf(await post({ key: "limited" }));
    expect((await post({ body: { ...BODY, agent: { profile: "nobody" } } })).status).toBe(422);
    for (let n = 0; n < 3; n += 1) expect((await post({ key: "limited" })).status).toBe(201);
    expect((await post()).status).toBe(201);
    expect((await post({ key: "late" })).status).toBe(429);
    expect((await runOf(await post({ key: "limited" }))).id).toBe(id);
    await admin("delete from runyard.token_creates");
    // What the limit refused used no key up.
    expect((await post({ key: "late", body: { ...BODY, task: "Another" } })).status).toBe(201);
  });

  test("without a limit are not counted and say nothing of one", async () => {
    await limitTo(null);
    const answers = await inParallel(40, (index) => post({ url: anyDoor(index) }));
    expect(new Set(answers.map(({ status, headers }) => `${status} ${headers.get("ratelimit")}`))).toEqual(new Set(["201 null"]));
  });

  test("after the limit was lowered: what is over it does not make it negative", async () => {
    await inParallel(5, () => post());
    await limitTo(2);
    expect((await post()).headers.get("ratelimit")).toMatch(/^"creates";r=0;t=\d+$/);
    await limitTo(6);
    expect((await post()).headers.get("ratelimit")).toMatch(/^"creates";r=0;t=\d+$/);
    expect((await post()).status).toBe(429);
  });

  test("the SDK waits as long as it is told to, and then creates", async () => {
    await limitTo(1);
    await served.client.runs.create(BODY_OF_SDK);
    const statuses: number[] = [];
    const watched = new RunyardClient({
      baseUrl: served.door.url,
      token: "token-a",
      retryDelayMs: 1,
      fetch: async (input, init) => {
        // Only now, so that nothing but this one request happens in the time that is left to wait.
        if (statuses.length === 0) await admin("update runyard.token_creates set at = now() - interval '58.1 s'");
        const response = await fetch(input, init);
        statuses.push(response.status);
        return response;
      },
    });
    expect((await watched.runs.create(BODY_OF_SDK)).status).toBe("pending");
    expect(statuses).toEqual([429, 201]);
    // A longer wait than the SDK's tries would make: the caller hears of it.
    await expect(watched.runs.create(BODY_OF_SDK, { maxRetries: 0 })).rejects.toMatchObject({ code: "rate_limited", retryable: true });
  });
});

const BODY_OF_SDK = { task: "Fix it", repositoryUrl: "/repository" };

describe("a connection that is cut", () => {
  /** Passes bytes on to the door, but for its first `cuts` answers: then it cuts both sides. */
  async function cuttingProxy(cuts: number): Promise<{ url: string; answers: () => number; server: Server }> {
    let answers = 0;
    const server = createServer((socket) => {
      const upstream = connect(served.door.port, "127.0.0.1");
      for (const one of [socket, upstream]) one.on("error", () => undefined);
      socket.on("data", (data) =>
        upstream.write(data.toString("latin1").replace(/^host: .*$/im, `host: 127.0.0.1:${served.door.port}`), "latin1"),
      );
      socket.on("close", () => upstream.destroy());
      upstream.on("data", (data) => {
        answers += 1;
        if (answers <= cuts) socket.destroy();
        else socket.write(data);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, answers: () => answers, server };
  }

  test("behind a create that was made: the SDK asks again and gets the one run", async () => {
    const proxy = await cuttingProxy(2);
    try {
      const before = await countRuns();
      const run = await new RunyardClient({ baseUrl: proxy.url, token: "token-a", retryDelayMs: 1 }).runs.create(BODY_OF_SDK);
      expect(proxy.answers()).toBeGreaterThanOrEqual(3);
      expect((await countRuns()) - before).toBe(1);
      expect((await served.client.runs.list({ limit: 1 })).data[0]?.id).toBe(run.id);
    } finally {
      proxy.server.close();
    }
  });

  test("the control: without a key, a second try is a second run", async () => {
    const proxy = await cuttingProxy(1);
    try {
      const before = await countRuns();
      await expect(post({ url: proxy.url })).rejects.toThrow();
      expect((await post({ url: proxy.url })).status).toBe(201);
      expect((await countRuns()) - before).toBe(2);
    } finally {
      proxy.server.close();
    }
  });
});

describe("the place in the queue", () => {
  test("is 1 for the next one, moves up as others are taken up or cancelled, and ends with the queue", async () => {
    const { client } = served;
    for (const queued of await all()) await client.runs.cancel(queued.id);
    const made: Run[] = [];
    for (let n = 0; n < 6; n += 1) made.push(await client.runs.create(BODY_OF_SDK));
    expect(made.map((run) => run.queuePosition)).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await client.runs.cancel(made[1]?.id ?? "")).queuePosition).toBeNull();
    expect(await places()).toEqual([5, 4, 3, 2, 1]);
    const claimed = await served.claim(made[0]?.id ?? "");
    expect((await client.runs.get(claimed.id)).queuePosition).toBeNull();
    expect(await places()).toEqual([4, 3, 2, 1]);
    expect((await client.runs.get(made[5]?.id ?? "")).queuePosition).toBe(4);
    // Page by page, and among runs in other states, the places are the same.
    const paged: (number | null)[] = [];
    for await (const run of client.runs.list({ limit: 2, status: "pending" })) paged.push(run.queuePosition);
    expect(paged).toEqual([4, 3, 2, 1]);
    const page: RunPage = await client.runs.list({ limit: 6 });
    expect(page.data.map((run) => run.queuePosition)).toEqual([4, 3, 2, 1, null, null]);
    // Another organization has a queue of its own.
    const other = new RunyardClient({ baseUrl: served.door.url, token: "token-b" });
    for await (const run of other.runs.list({ status: "pending" })) await other.runs.cancel(run.id);
    expect((await other.runs.create(BODY_OF_SDK)).queuePosition).toBe(1);
    await served.complete(claimed);
  });

  const all = async (): Promise<Run[]> => {
    const runs: Run[] = [];
    for await (const run of served.client.runs.list({ status: "pending", limit: 100 })) runs.push(run);
    return runs;
  };
  const places = async (): Promise<(number | null)[]> => (await all()).map((run) => run.queuePosition);
});
