import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openNotifier } from "../store/notify.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { messagesOf, relayWakes, WAKE_CHANNEL, type WakeRelay } from "./wake-relay.ts";

let database: TestDatabase;
const open: WakeRelay[] = [];
beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});
afterAll(() => database.drop());

/** The relay of one process; it looks at nothing by itself. */
async function relay(): Promise<WakeRelay> {
  const { connectionString } = database;
  const started = await relayWakes({
    notifier: openNotifier({ connectionString, applicationName: "relay-notify" }, WAKE_CHANNEL),
    listen: (onMessage) => database.db.listen(WAKE_CHANNEL, onMessage),
  });
  open.push(started);
  return started;
}

function woken(by: WakeRelay, topic: string): { readonly times: () => number; readonly next: Promise<void> } {
  let times = 0;
  let resolve = (): void => undefined;
  const next = new Promise<void>((done) => (resolve = done));
  by.wakes.subscribe(topic, () => {
    times += 1;
    resolve();
  });
  return { times: () => times, next };
}

test("whoever waits in another process is woken, and in this one at once and once", async () => {
  const [here, there] = [await relay(), await relay()];
  const [mine, theirs, others] = [woken(here, "run_1"), woken(there, "run_1"), woken(there, "run_2")];
  here.wakes.notify("run_1");
  expect(mine.times()).toBe(1);
  await theirs.next;
  // What comes after it has come after what it would have sent back.
  there.wakes.notify("run_3");
  await woken(here, "run_3").next;
  expect([mine.times(), theirs.times(), others.times()]).toEqual([1, 1, 0]);
});

test("a burst goes out as one, and more than fits wakes everybody", async () => {
  const [here, there] = [await relay(), await relay()];
  const [one, nobody] = [woken(there, "run_7"), woken(there, "nobody's")];
  for (let n = 0; n < 500; n += 1) here.wakes.notify(`run_${n % 10}`);
  await one.next;
  expect([one.times(), nobody.times()]).toEqual([1, 0]);
  for (let n = 0; n < 10_000; n += 1) here.wakes.notify(`run_01kaf3v7g8${n}`);
  await nobody.next;
});

test.each(["listening", "notifying"])("a lost connection for %s is made again, and everybody looks once", async (which) => {
  const [here, there] = [await relay(), await relay()];
  here.wakes.notify("run_1");
  await woken(there, "run_1").next;
  const anything = woken(there, "whatever");
  const client = new pg.Client({ connectionString: database.connectionString });
  await client.connect();
  const where = which === "listening" ? "query like 'listen %'" : "application_name = 'relay-notify'";
  const killed = await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and ${where}`,
  );
  await client.end();
  expect(killed.rowCount).toBeGreaterThan(0);
  here.wakes.notify("run_1");
  await anything.next;
  const again = woken(there, "run_2");
  here.wakes.notify("run_2");
  await again.next;
});

test("a message is never longer than PostgreSQL takes", () => {
  const topics = (count: number): Set<string> =>
    new Set(Array.from({ length: count }, (_, n) => `control:run_01kaf3v7g8zq4w5x6y7z8a9b0${n}`));
  for (const count of [1, 150, 300, 1_000]) {
    const messages = messagesOf("sender", topics(count));
    for (const message of messages) expect(Buffer.byteLength(message)).toBeLessThan(8_000);
    expect(messages.flatMap((message) => message.split(" ").slice(1))).toEqual([...topics(count)]);
  }
  expect(messagesOf("sender", topics(2_000))).toEqual(["sender *"]);
  expect(messagesOf("sender", new Set(["a", "*"]))).toEqual(["sender *"]);
  expect(messagesOf("sender", new Set(["x".repeat(7_900)]))).toEqual(["sender *"]);
});
