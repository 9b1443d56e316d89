import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLogFeeds } from "./feed.ts";
import { NDJSON, streamLog } from "./stream.ts";
import { OWNER } from "./testing/door.ts";
import { createLogEngine } from "./testing/log-engine.ts";

test("one page is read ahead while the one before is sent, and no more", async () => {
  const engine = createLogEngine();
  const { id } = engine.addRun(OWNER.orgId);
  for (let n = 0; n < 999; n += 1) engine.append(id, "log", { text: "x".repeat(1_000) });
  engine.append(id, "run.completed");
  const { feed, release } = createLogFeeds(engine, 600_000).open(OWNER.orgId, id);
  const version = feed.version();
  const first = await feed.read({ principal: OWNER, after: 0, form: "ndjson" });
  const common = { feed, principal: OWNER, first, version, format: NDJSON, follow: false, heartbeatMs: 600_000 };
  const { body } = streamLog({ ...common, onEnd: release });
  const reader = body.getReader();
  let whole = Buffer.from((await reader.read()).value ?? []).toString();
  for (let turn = 0; turn < 20; turn += 1) await nextTurn();
  expect(engine.reads.count).toBe(2);
  for (let next = await reader.read(); !next.done; next = await reader.read()) whole += Buffer.from(next.value).toString();
  const { events } = await engine.readEvents(OWNER, id, { after: 0, limit: 1_000 });
  expect(whole).toBe(events.map(({ json }) => `${json}\n`).join(""));
});

test("a page that was read ahead and not taken is nobody's error", async () => {
  const engine = createLogEngine();
  const { id } = engine.addRun(OWNER.orgId);
  for (let n = 0; n < 1_000; n += 1) engine.append(id, "log", { text: "x".repeat(1_000) });
  const { feed } = createLogFeeds(engine, 600_000).open(OWNER.orgId, id);
  const version = feed.version();
  const first = await feed.read({ principal: OWNER, after: 0, form: "ndjson" });
  engine.readEventPage = () => Promise.reject(new Error("the database is gone"));
  const ends: unknown[] = [];
  const common = { feed, principal: OWNER, first, version, format: NDJSON, follow: false, heartbeatMs: 600_000 };
  const [left, taken] = [1, 2].map(() => streamLog({ ...common, onEnd: (error) => ends.push(error) }).body.getReader());
  for (const reader of [left, taken]) expect((await reader?.read())?.value?.byteLength).toBe(first.bytes.byteLength);
  await left?.cancel();
  expect((await taken?.read())?.done).toBe(true);
  expect(ends.map(String)).toEqual(["undefined", "Error: the database is gone"]);
});
