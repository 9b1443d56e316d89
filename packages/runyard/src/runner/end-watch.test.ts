import { afterAll, beforeAll, expect, test } from "vitest";
import { control, createWakes } from "../engine/wakes.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { watchForEnd } from "./end-watch.ts";
import { laterTurn, makeOrganization } from "./testing/later-turn.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  await makeOrganization(database.db);
});
afterAll(() => database.drop());

test("the deadline of a later turn counts the time of that turn alone", async () => {
  const run = await laterTurn(database.db, { id: "run_late", attempts: [], activeMs: 1_000_000 });
  const startedAt = Date.parse(run.active_since ?? "");
  const wakes = createWakes();
  let nowMs = startedAt + 59_000;
  let looked = (): void => undefined;
  const firstLook = new Promise<void>((resolve) => (looked = resolve));
  const now = (): number => {
    setImmediate(looked);
    return nowMs;
  };
  const watch = watchForEnd({ db: database.db, wakes, now }, run);
  await firstLook;
  expect(watch.signal.aborted).toBe(false);
  const ended = new Promise((resolve) => watch.signal.addEventListener("abort", () => resolve(watch.signal.reason)));
  nowMs = startedAt + 60_001;
  wakes.notify(control(run.id));
  expect(await ended).toMatchObject({ fact: { type: "deadline_passed" } });
  watch.close();
});
