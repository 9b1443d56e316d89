import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { readEventPage, readEvents } from "./events.ts";

const ORG = "org_events";
let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, ORG);
});
afterAll(() => test_?.drop());

test("an envelope is JSON on one line, with the time as it is shown everywhere else, and data as it was stored", async () => {
  const { id } = await queueRun(test_.db, { orgId: ORG, id: "run_envelopes" });
  const times = ["00:00:00Z", "10:30:00.1Z", "10:30:00.12Z", "10:30:00.123Z", "10:30:00.1234Z", "10:30:00.100001Z", "23:59:59.999999Z"];
  const data = String.raw`{"text":"ü \" \\ ' \u0000 \ud83d \n","n":1e400,"n":2, "empty":{}}`;
  const admin = new pg.Client({ connectionString: test_.connectionString });
  await admin.connect();
  // Whatever zone the session of whoever wrote it was in.
  await admin.query("set timezone = 'Asia/Kolkata'");
  for (const [index, time] of times.entries())
    await admin.query("insert into runyard.events values ($1, $2, $3, 2, 3, $4, 'log', $5::json)", [
      id,
      index + 2,
      ORG,
      `2026-11-20T${time}`,
      data,
    ]);
  await admin.end();
  const rows = await test_.db.queryInOrganization<{ at: string }>(
    ORG,
    "select at from runyard.events where run_id = $1 and seq > 1 order by seq",
    [id],
  );
  const read = await readEvents(test_.db, { orgId: ORG, runId: id, after: 1, limit: 100 });
  expect(read?.status).toBe("pending");
  expect(read?.events).toEqual(
    rows.map(({ at }, index) => ({
      seq: index + 2,
      type: "log",
      json: `{"seq":${index + 2},"id":"${id}:${index + 2}","runId":"${id}","turn":2,"attempt":3,"at":"${at}","type":"log","data":${data}}`,
    })),
  );
  expect(rows.map(({ at }) => at.length - "2026-11-20T10:30:00.Z".length)).toEqual([3, 3, 3, 3, 4, 6, 6]);
  // As one text: the same bytes.
  const page = { orgId: ORG, runId: id, after: 1, limit: 100, bytes: 100_000 };
  const [events, count] = [read?.events ?? [], times.length];
  expect(await readEventPage(test_.db, { ...page, form: "ndjson" })).toEqual({
    text: events.map(({ json }) => `${json}\n`).join(""),
    count,
    last: count + 1,
    more: false,
    status: "pending",
  });
  expect((await readEventPage(test_.db, { ...page, form: "sse" }))?.text).toBe(
    events.map(({ seq, json }) => `id: ${seq}\ndata: ${json}\n\n`).join(""),
  );
  expect(await readEvents(test_.db, { orgId: ORG, runId: id, after: 100, limit: 100 })).toEqual({ events: [], status: "pending" });
  expect(await readEvents(test_.db, { orgId: "org_other", runId: id, after: 0, limit: 100 })).toBeUndefined();
});

test("a page holds as many whole events as it has room and is asked for, and a longer one alone", async () => {
  const { id } = await queueRun(test_.db, { orgId: ORG, id: "run_pages" });
  const admin = new pg.Client({ connectionString: test_.connectionString });
  await admin.connect();
  const texts = ["ü".repeat(100), "b", "c".repeat(5_000), "d", "e"];
  for (const [index, text] of texts.entries())
    await admin.query("insert into runyard.events values ($1, $2, $3, 1, 1, now(), 'log', $4::json)", [
      id,
      index + 2,
      ORG,
      JSON.stringify({ text }),
    ]);
  await admin.end();
  const read = async (after: number, limit: number, bytes: number) => {
    const page = await readEventPage(test_.db, { orgId: ORG, runId: id, after, limit, bytes, form: "ndjson" });
    return page && [page.count, page.last, page.more];
  };
  const all = await readEvents(test_.db, { orgId: ORG, runId: id, after: 1, limit: 10 });
  const sizes = all?.events.map(({ json }) => Buffer.byteLength(json) + 1) ?? [];
  const [first = 0, second = 0] = sizes;
  expect(await read(1, 10, first + second)).toEqual([2, 3, true]);
  expect(await read(1, 10, first + second - 1)).toEqual([1, 2, true]);
  expect(await read(1, 1, 100_000)).toEqual([1, 2, true]);
  expect(await read(3, 10, 1_000)).toEqual([1, 4, true]);
  expect(await read(4, 10, 1_000)).toEqual([2, 6, false]);
  expect(await read(4, 2, 1_000)).toEqual([2, 6, true]);
  expect(await readEventPage(test_.db, { orgId: ORG, runId: id, after: 6, limit: 5, bytes: 1_000, form: "sse" })).toEqual({
    text: "",
    count: 0,
    last: null,
    more: false,
    status: "pending",
  });
  expect(await readEventPage(test_.db, { orgId: "org_other", runId: id, after: 0, limit: 5, bytes: 1_000, form: "sse" })).toBeUndefined();
});
