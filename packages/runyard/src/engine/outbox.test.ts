import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nextAttempt } from "../store/attempts.ts";
import { claimEffects, type EffectRow, findEffect, releaseEffects, requestEffect, settleEffect, withdrawEffect } from "../store/outbox.ts";
import { notePullRequest, pullRequestsOf } from "../store/pull-requests.ts";
import { claimRun, commitStep } from "../store/runs.ts";
import type { RunRow } from "../store/run-row.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { type OutboxOptions, type Performer, type TryResult, watchOutbox } from "./outbox.ts";
import { createWakes, OUTBOX } from "./wakes.ts";

let test_: TestDatabase;
beforeAll(async () => {
  test_ = await createTestDatabase();
  for (const orgId of ["org_a", "org_b"]) await makeOrganization(test_.db, orgId);
});
afterAll(() => test_?.drop());

let serial = 0;
/** A run in the hands of `me`. */
async function runInHand(orgId = "org_a"): Promise<RunRow> {
  await queueRun(test_.db, { orgId, id: `run_${(serial += 1)}` });
  const run = await claimRun(test_.db, { owner: "me", runnerId: "runner", events: [] });
  if (run === undefined) throw new Error("nothing was claimed");
  return run;
}
/** Of a kind that only the test itself performs. */
async function ask(run: RunRow, kind: string, payload: unknown = {}): Promise<EffectRow> {
  const effect = await requestEffect(test_.db, { run, id: `effect_${(serial += 1)}`, kind, key: run.id, payload });
  if (effect === undefined) throw new Error("nothing was asked for");
  return effect;
}
const claimOf = (kind: string, performer = "p") => ({ performer, lease: `l${(serial += 1)}`, leaseMs: 60_000, kinds: [kind], limit: 10 });

test("what is asked for twice is one effect, and only whoever has the run can ask", async () => {
  const run = await runInHand();
  const first = await ask(run, "once", { n: 1 });
  expect(await requestEffect(test_.db, { run, id: "effect_other", kind: "once", key: run.id, payload: { n: 2 } })).toEqual(first);
  const wish = { id: "effect_x", kind: "once", key: "another", payload: {} };
  expect(await requestEffect(test_.db, { ...wish, run: { ...run, owner: "somebody" } })).toBeUndefined();
  expect(await requestEffect(test_.db, { ...wish, run: { ...run, attempt: 7 } })).toBeUndefined();
  expect(await requestEffect(test_.db, { ...wish, run: { ...run, org_id: "org_b" } })).toBeUndefined();
  expect(await findEffect(test_.db, "org_b", first.id)).toBeUndefined();
  expect((await requestEffect(test_.db, { ...wish, run }))?.id).toBe("effect_x");
});

test("each is claimed by one, of its kind, and free again once its performer is known to be gone", async () => {
  const run = await runInHand("org_b");
  const { id } = await ask(run, "claimed");
  expect(await claimEffects(test_.db, claimOf("other"))).toEqual([]);
  const both = await Promise.all([claimEffects(test_.db, claimOf("claimed")), claimEffects(test_.db, claimOf("claimed"))]);
  expect(both.flat().map((effect) => [effect.id, effect.tries])).toEqual([[id, 1]]);
  await releaseEffects(test_.db, "somebody else");
  expect(await claimEffects(test_.db, claimOf("claimed"))).toEqual([]);
  await releaseEffects(test_.db, "p");
  const [again] = await claimEffects(test_.db, claimOf("claimed"));
  expect(again?.tries).toBe(2);
  // The one before comes too late.
  const late = both.flat()[0]!;
  expect(await settleEffect(test_.db, late, { status: "failed", outcome: {} })).toBe(false);
  expect(await settleEffect(test_.db, again!, { status: "done", outcome: { ok: true } })).toBe(true);
  expect(await findEffect(test_.db, "org_b", id)).toMatchObject({ status: "done", outcome: { ok: true } });
  expect(await claimEffects(test_.db, claimOf("claimed"))).toEqual([]);
});

test("what an attempt asked for that is over is not begun, and what was withdrawn under way counts if it was done", async () => {
  const ended = await runInHand();
  const over = await ask(ended, "ended");
  await commitStep(test_.db, { run: ended, change: { status: "cancelled" } });
  expect(await claimEffects(test_.db, claimOf("ended"))).toEqual([]);
  // Nor is it looked at again, by claims of whatever kind.
  expect(await findEffect(test_.db, "org_a", over.id)).toMatchObject({ status: "withdrawn", tries: 0 });

  const broken = await runInHand();
  await ask(broken, "of an attempt before");
  const again = await nextAttempt(test_.db, { run: broken, events: [], state: {}, delayMs: 0, carry: null });
  expect(await claimEffects(test_.db, claimOf("of an attempt before"))).toEqual([]);
  // The control: the run goes on, and what it asks for now is begun.
  await requestEffect(test_.db, { run: again!, id: "effect_again", kind: "of an attempt before", key: "again", payload: {} });
  expect(await claimEffects(test_.db, claimOf("of an attempt before"))).toMatchObject([{ id: "effect_again", attempt: 2 }]);

  const run = await runInHand();
  const { id } = await ask(run, "withdrawn");
  const [claimed] = await claimEffects(test_.db, claimOf("withdrawn"));
  expect(await withdrawEffect(test_.db, "org_a", id)).toMatchObject({ status: "withdrawn" });
  await releaseEffects(test_.db, "p");
  expect(await claimEffects(test_.db, claimOf("withdrawn"))).toEqual([]);
  expect(await settleEffect(test_.db, claimed!, { status: "failed", outcome: {} })).toBe(false);
  expect(await settleEffect(test_.db, claimed!, { status: "done", outcome: 1 })).toBe(true);
  expect(await withdrawEffect(test_.db, "org_a", id)).toMatchObject({ status: "done" });
});

const policy = { firstMs: 10, longestMs: 20, patienceMs: 60_000 };
/** An outbox at work on one kind, until the effect has ended. */
async function work(
  kind: string,
  effect: EffectRow,
  perform: Performer["perform"],
  options: Partial<OutboxOptions> = {},
): Promise<EffectRow> {
  const leaving = new AbortController();
  const log: unknown[] = [];
  const watching = watchOutbox(
    {
      db: test_.db,
      wakes: createWakes(),
      performer: `p-${kind}`,
      performers: { [kind]: { policy, perform } },
      pollMs: 5,
      now: Date.now,
      chance: () => 0,
      log: (...entry) => void log.push(entry),
      ...options,
    },
    leaving.signal,
  );
  for (;;) {
    const now = await findEffect(test_.db, effect.org_id, effect.id);
    if (now !== undefined && now.status !== "due") {
      leaving.abort();
      await watching;
      return now;
    }
    await sleep(5);
  }
}

test("a try that fails is made again, until it works, and what it made is stored with that", async () => {
  const run = await runInHand();
  const effect = await ask(run, "works", { n: 1 });
  const seen: EffectRow[] = [];
  const results: TryResult[] = [
    { type: "later", retryAfterMs: null, problem: { code: "unavailable" } },
    { type: "later", retryAfterMs: 30, problem: { code: "rate-limited" } },
  ];
  const pullRequest = {
    id: 1,
    number: 7,
    url: "https://github.com/acme/app/pull/7",
    title: "t",
    state: "open" as const,
    merged: false,
    draft: false,
    headBranchName: "h",
    baseBranchName: "main",
    createdAt: "2026-01-01T00:00:00.000Z",
  };
  const done = await work("works", effect, async (row) => {
    seen.push(row);
    if (seen.length === 3) throw new Error("the performer has a fault");
    const also = (tx: Parameters<typeof notePullRequest>[0]) => notePullRequest(tx, { id: run.id, orgId: run.org_id }, pullRequest);
    return results.shift() ?? { type: "done", outcome: { at: 4 }, also };
  });
  expect(done).toMatchObject({ status: "done", outcome: { at: 4 }, tries: 4 });
  expect(seen.map(({ tries, problem, payload }) => [tries, (problem as { code: string } | null)?.code, payload])).toEqual([
    [1, undefined, { n: 1 }],
    [2, "unavailable", { n: 1 }],
    [3, "rate-limited", { n: 1 }],
    [4, "unavailable", { n: 1 }],
  ]);
  expect(await pullRequestsOf(test_.db, "org_a", run.id)).toEqual([pullRequest]);
  expect(await pullRequestsOf(test_.db, "org_b", run.id)).toEqual([]);
});

test("what stays so ends it at once, and what does not pass in time ends it, too", async () => {
  const never = await work("never", await ask(await runInHand(), "never"), () =>
    Promise.resolve({ type: "never", problem: { code: "refused" } }),
  );
  expect(never).toMatchObject({ status: "failed", tries: 1, outcome: { problem: { code: "refused" } } });
  const hour = await work("hour", await ask(await runInHand(), "hour"), () =>
    Promise.resolve({ type: "later", retryAfterMs: 3_600_000, problem: { code: "rate-limited" } }),
  );
  expect(hour).toMatchObject({ status: "failed", tries: 1, outcome: { problem: { code: "rate-limited" } } });
});

test("who leaves cuts off what is under way, and the next one of the same home begins it again at once", async () => {
  const effect = await ask(await runInHand(), "cut");
  const leaving = new AbortController();
  const wakes = createWakes();
  let isStarted = (): void => undefined;
  const started = new Promise<void>((resolve) => (isStarted = resolve));
  const perform: Performer["perform"] = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("cut off")));
      isStarted();
    });
  const options = { db: test_.db, wakes, performer: "p-cut", pollMs: 60_000, now: Date.now, chance: () => 0, log: () => undefined };
  const watching = watchOutbox({ ...options, performers: { cut: { policy, perform } } }, leaving.signal);
  wakes.notify(OUTBOX);
  await started;
  leaving.abort();
  await watching;
  expect(await findEffect(test_.db, "org_a", effect.id)).toMatchObject({ status: "due", tries: 1, problem: null });
  const done = await work("cut", effect, () => Promise.resolve({ type: "done", outcome: null }), { performer: "p-cut" });
  expect(done).toMatchObject({ status: "done", tries: 2 });
});
