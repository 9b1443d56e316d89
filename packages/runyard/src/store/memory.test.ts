import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxType } from "@runyard/sdk/contract";
import { attemptSettingsOf } from "../core/attempts.ts";
import { SANDBOX_LIMITS } from "../core/limits.ts";
import { admit, mayTakeAny, MOST_OVERTAKEN } from "../core/memory.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { nextAttempt } from "./attempts.ts";
import { holdMemory, readRoom } from "./memory.ts";
import { limitRuns } from "./run-counts.ts";
import type { RunRow } from "./run-row.ts";
import { claimRun, commitStep, findRun } from "./runs.ts";
import { continueRun } from "./turns.ts";

const GIB = 1024 ** 3;
let test_: TestDatabase;
/** Sees everything, as a superuser. */
let outside: pg.Pool;
/** The organization of this test. */
let orgId = "";
let serial = 0;
beforeAll(async () => {
  test_ = await createTestDatabase();
  outside = new pg.Pool({ connectionString: test_.connectionString, max: 3 });
});
afterAll(async () => {
  await outside?.end();
  await test_?.drop();
});
beforeEach(async () => {
  // What a test before has left is over.
  await outside.query("delete from runyard.runs; delete from runyard.runners; update runyard.org_slots set queued = 0, active = 0");
  orgId = `org_memory_${(serial += 1)}`;
  await makeOrganization(test_.db, orgId);
  await limitRuns(test_.db, orgId, 1_000);
});

const queue = (id: string, sandboxType: SandboxType = "standard", org = orgId): Promise<RunRow> =>
  queueRun(test_.db, {
    orgId: org,
    id: `${orgId}_${id}`,
    spec: {
      agent: { profile: "builtin", command: null },
      model: null,
      permissionPolicy: { ask: [], deny: [] },
      timeoutMs: 60_000,
      sandboxDriver: "process",
      attempts: attemptSettingsOf({ sandboxType }),
    },
  });

/** One step of a runner with so much memory: it looks, decides, claims. */
async function claim(gigabytes: number, runnerId = "r"): Promise<RunRow | undefined> {
  const admission = admit(await readRoom(test_.db, { runnerId, budgetBytes: gigabytes * GIB }));
  return mayTakeAny(admission) ? claimRun(test_.db, { owner: `o-${runnerId}`, runnerId, events: [], admission }) : undefined;
}
const end = async (run: RunRow | undefined): Promise<void> => {
  if (run === undefined || (await commitStep(test_.db, { run, change: { status: "completed" } })) === undefined)
    throw new Error("nothing was ended");
};
const nameOf = (run: RunRow | undefined): string | undefined => run?.id.slice(orgId.length + 1);

/** As a runner that lives tells it. */
const tell = (runnerId: string, memoryBudgetBytes: number): Promise<unknown> =>
  test_.db.query("select runyard.renew_runner($1, $1, 60000, $2, true)", [runnerId, JSON.stringify({ memoryBudgetBytes })]);

test("what does not fit beside what is at work waits, and is taken up when it does", async () => {
  for (const id of ["a", "b", "c"]) await queue(id);
  const [a, b] = [await claim(5), await claim(5)];
  expect([nameOf(a), nameOf(b)]).toEqual(["a", "b"]);
  expect(await claim(5)).toBeUndefined();
  // Another one has memory of its own.
  expect(nameOf(await claim(2, "other"))).toBe("c");
  await queue("d");
  await end(a);
  expect(nameOf(await claim(5))).toBe("d");
});

test("the smallest sandbox alone fits everywhere, and nothing beside it that does not", async () => {
  await queue("a");
  await queue("b");
  const a = await claim(1);
  expect(nameOf(a)).toBe("a");
  expect(await claim(1)).toBeUndefined();
  await end(a);
  expect(nameOf(await claim(1))).toBe("b");
});

test(`a large one is overtaken ${MOST_OVERTAKEN} times, and then memory is kept for it`, async () => {
  for (const id of ["before", "before-2"]) await queue(id);
  const atWork = [await claim(17), await claim(17)];
  await queue("big", "high-memory");
  for (let n = 0; n < 20; n += 1) await queue(`small-${n}`);
  const overtakers: (string | undefined)[] = [];
  // Somebody is at work all the time, so that it never fits by chance.
  for (let step = 0; step < 20; step += 1) {
    await end(atWork.shift());
    const next = await claim(17);
    if (next === undefined) break;
    overtakers.push(nameOf(next));
    atWork.push(next);
  }
  expect(overtakers).toEqual(Array.from({ length: MOST_OVERTAKEN }, (_, n) => `small-${n}`));
  expect(atWork).toHaveLength(1);
  await end(atWork.shift());
  const big = await claim(17);
  expect(nameOf(big)).toBe("big");
  expect(await claim(17)).toBeUndefined();
  await end(big);
  expect(nameOf(await claim(17))).toBe(`small-${MOST_OVERTAKEN}`);
});

test("no other organization's runs keep a large one waiting for ever", async () => {
  const other = `${orgId}_other`;
  await makeOrganization(test_.db, other);
  await limitRuns(test_.db, other, 1_000);
  await queue("first", "standard", other);
  const atWork = [await claim(18)];
  await queue("big", "high-memory");
  let turns = 0;
  for (let taken: string | undefined; taken !== "big"; turns += 1) {
    if (turns > 40) throw new Error("the large one was never taken up");
    await queue(`small-${turns}`, "standard", other);
    await queue(`more-${turns}`, "standard", other);
    const next = await claim(17);
    if (next !== undefined) atWork.push(next);
    taken = nameOf(next);
    if (atWork.length > 1 || next === undefined) await end(atWork.shift());
  }
  expect(turns).toBeGreaterThan(MOST_OVERTAKEN);
});

test("what waits for something else, or could never begin there, is not waited for", async () => {
  await queue("big", "high-memory");
  await outside.query("update runyard.runs set overtaken = 99");
  await queue("small");
  // This runner never has so much.
  expect(nameOf(await claim(6))).toBe("small");
  await queue("small-2");
  // Nor is anything kept for one that may not begin: its organization may have no more runs, and this one is another's.
  const other = `${orgId}_other`;
  await makeOrganization(test_.db, other);
  await queue("small-3", "standard", other);
  await limitRuns(test_.db, orgId, 1);
  expect(nameOf(await claim(18))).toBe("small-3");
});

test("who is queued for memory is told so, and why others are not", async () => {
  const reasonOf = async (id: string): Promise<boolean | undefined> =>
    (await findRun(test_.db, orgId, `${orgId}_${id}`))?.run.waits_for_memory;
  await queue("a");
  await queue("b", "high-memory");
  await queue("c");
  // Nobody lives who has told.
  expect(await reasonOf("b")).toBe(false);
  await tell("r", 17 * GIB);
  expect([await reasonOf("a"), await reasonOf("b")]).toEqual([false, false]);
  const a = await claim(17);
  expect([await reasonOf("a"), await reasonOf("b"), await reasonOf("c")]).toEqual([undefined, true, false]);
  await tell("roomy", 16 * GIB);
  expect(await reasonOf("b")).toBe(false);
  await outside.query("update runyard.runners set lost_at = now() where id = 'roomy'");
  expect(await reasonOf("b")).toBe(true);
  await outside.query("update runyard.runs set overtaken = 99 where id like '%\\_b'");
  expect(await reasonOf("c")).toBe(true);
  await end(a);
  expect([await reasonOf("b"), await reasonOf("c")]).toEqual([false, true]);
});

test("a turn that was given a larger sandbox holds it until it is over", async () => {
  await queue("a");
  await queue("b");
  const a = await claim(18);
  if (a === undefined) throw new Error("nothing was claimed");
  await holdMemory(test_.db, { ...a, owner: "somebody else" }, SANDBOX_LIMITS["high-memory"].memoryBytes);
  expect((await readRoom(test_.db, { runnerId: "r", budgetBytes: 18 * GIB })).heldBytes).toBe(2 * GIB);
  await holdMemory(test_.db, a, SANDBOX_LIMITS["high-memory"].memoryBytes);
  const again = await nextAttempt(test_.db, { run: a, events: [], state: {}, delayMs: 0, carry: null });
  expect((await readRoom(test_.db, { runnerId: "r", budgetBytes: 17 * GIB })).heldBytes).toBe(16 * GIB);
  expect(await claim(17)).toBeUndefined();
  await end(again);
  expect(nameOf(await claim(17))).toBe("b");
  // The next turn begins with what the run asked for.
  const { spec } = a;
  const carry = { attempts: [], head: null, published: null, sessionId: null, prompt: "x", lastWords: null };
  await continueRun(test_.db, { run: a, prompt: "more", spec, carry, plans: false, error: null, events: [] });
  expect(nameOf(await claim(4))).toBe("a");
  expect((await readRoom(test_.db, { runnerId: "r", budgetBytes: 4 * GIB })).heldBytes).toBe(4 * GIB);
});

test("several runners never hold more than each has, claim nothing twice, and leave nobody behind", async () => {
  const RUNS = 60;
  const budgets = { small: 3, medium: 9, large: 20 } as const;
  const types = ["standard", "standard", "high-cpu", "standard", "high-memory"] as const;
  for (let n = 0; n < RUNS; n += 1) await queue(`n${n}`, types[n % types.length]);
  const claimed: string[] = [];
  const wrong: unknown[] = [];
  const look = async (): Promise<void> => {
    const { rows } = await outside.query<{ runner_id: "small"; held: number }>(
      `select runner_id, sum(memory_bytes)::float8 as held from runyard.runs where status = 'running' group by 1`,
    );
    for (const row of rows) if (row.held > budgets[row.runner_id] * GIB) wrong.push(row);
  };
  await Promise.all(
    (Object.keys(budgets) as (keyof typeof budgets)[]).map(async (runnerId) => {
      const hands: Promise<void>[] = [];
      while (claimed.length < RUNS) {
        const run = await claim(budgets[runnerId], runnerId);
        await look();
        if (run === undefined) {
          await sleep(2);
          continue;
        }
        claimed.push(run.id);
        hands.push(sleep(Math.random() * 20).then(() => end(run)));
      }
      await Promise.all(hands);
    }),
  );
  expect(wrong).toEqual([]);
  expect(new Set(claimed).size).toBe(RUNS);
});
