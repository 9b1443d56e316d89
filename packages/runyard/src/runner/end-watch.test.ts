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

test("the deadline of a later turn counts the time of that turn alone, by the database's clock", async () => {
  const run = await laterTurn(database.db, { id: "run_late", attempts: [], activeMs: 1_000_000 });
  const activeFor = (seconds: number): Promise<unknown> =>
    database.db.inOrganization(run.org_id, (tx) =>
      tx.query("update runyard.runs set active_since = clock_timestamp() - make_interval(secs => $2) where id = $1", [run.id, seconds]),
    );
  await activeFor(1);
  const wakes = createWakes();
  const watch = watchForEnd({ db: database.db, wakes, pollMs: 1_000 }, run);
  await watch.looked;
  expect(watch.signal.aborted).toBe(false);
  const ended = new Promise((resolve) => watch.signal.addEventListener("abort", () => resolve(watch.signal.reason)));
  await activeFor(61);
  wakes.notify(control(run.id));
  expect(await ended).toMatchObject({ fact: { type: "deadline_passed" } });
  watch.close();
});
