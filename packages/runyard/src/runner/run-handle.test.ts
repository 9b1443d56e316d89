// Every way in which a runner writes of a run: none of them tells a secret, and none is there for a runner that lost the run.
import type { NewEvent, RunError, RunResult } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createWakes } from "../engine/wakes.ts";
import { createRedactor } from "../redact.ts";
import type { Carry, RunRow } from "../store/run-row.ts";
import { limitRuns } from "../store/run-counts.ts";
import { adoptRuns, cancelRun, claimRun, commitStep } from "../store/runs.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { EndRequest, FencedError, type RunHandle, runHandle } from "./run-handle.ts";
import { NO_SECRETS, type RunSecrets } from "./run-secrets.ts";

const ORG = "org_a";
const SECRET = "decoy-of-a-run-secret";
const TOLD = `It said ${SECRET}.`;
const SECRETS: RunSecrets = { ...NO_SECRETS, redactor: createRedactor([], [{ name: "TOKEN", value: SECRET }]) };
const COMMIT = "b".repeat(40);

const said: NewEvent = { type: "log", data: { text: TOLD } };
const error: RunError = { type: "agent-error", message: TOLD };
const carry: Carry = { attempts: [1], head: null, published: null, sessionId: null, prompt: "Do it", lastWords: null };
const result: RunResult = {
  summary: TOLD,
  headBranch: null,
  headCommit: COMMIT,
  baseCommit: COMMIT,
  filesChanged: 0,
  insertions: 0,
  deletions: 0,
};
const request = { id: "perm_1_7", kind: "permission", offset: 7, title: TOLD };
const state = { format: 1, summary: TOLD };

interface Way {
  readonly act: (handle: RunHandle) => Promise<void>;
  /** Where the run must be for that. */
  readonly phase?: "planning" | "publishing";
  /** It gives the run out of hand to wait for somebody, which one that is to be cancelled does not. */
  readonly letsGo?: true;
}

const WAYS: Readonly<Record<string, Way>> = {
  "what an agent did and asks": {
    act: (handle) => handle.commit({ events: [said], requests: [request], change: { state, error, result } }),
  },
  "the next attempt": {
    act: (handle) => {
      const retry = { attempt: 2, error, delayMs: 0, timeout: 60_000, sandboxType: "standard" } as const;
      return handle.retry({ fact: { type: "retried", retry }, events: [said], state: {}, delayMs: 0, carry: null });
    },
  },
  "a plan": {
    phase: "planning",
    letsGo: true,
    act: (handle) => {
      const plan = { version: 1, text: TOLD, hash: "h", source: "message", dueAt: null } as const;
      const shown = { source: plan.source, text: "The plan.", hash: plan.hash, dueMs: null };
      return handle.propose({ fact: { type: "plan_proposed", plan }, events: [said], state: {}, ...shown });
    },
  },
  "a wait for answers": {
    letsGo: true,
    act: (handle) => {
      const notice = { level: "info", code: "agent-released", message: TOLD } as const;
      return handle.release({ fact: { type: "released", notice }, events: [said], requests: [request], carry, state: {} });
    },
  },
  "a result that is held": {
    phase: "publishing",
    letsGo: true,
    act: (handle) => {
      const asked = { title: "It touches a file", toolKind: null, files: [] };
      const hold = { approvalId: "publish_1_b", title: TOLD, commit: COMMIT, files: [], count: 1 };
      return handle.hold({ fact: { type: "held", hold }, hold: { id: hold.approvalId, request: asked }, result, carry, state: {} });
    },
  },
  "a wait for checks": {
    phase: "publishing",
    letsGo: true,
    act: (handle) => {
      const started = { commit: COMMIT, branch: "b", timeout: 1 };
      const place = { apiUrl: "https://api.invalid", owner: "acme", name: "app", tokenUrl: "https://git.invalid/acme/app" };
      const checks = { place, watch: true, ignored: [], timeout: 1, retries: 0, retriesByCheck: {}, prompts: {} };
      const effect = { checks, commit: COMMIT, branch: "b", before: null, result, pullRequest: null };
      return handle.awaitChecks({ fact: { type: "checks_awaited", started }, events: [said], effectId: `effect_${handle.row.id}`, effect });
    },
  },
  "an end with a result": { act: (handle) => handle.happen({ type: "finished", result }, { events: [said] }) },
  "an end with an error": { act: (handle) => handle.happen({ type: "broke", error }) },
};

let test_: TestDatabase;
let serial = 0;
beforeAll(async () => {
  test_ = await createTestDatabase();
  await makeOrganization(test_.db, ORG);
  await limitRuns(test_.db, ORG, 100);
});
afterAll(() => test_?.drop());

/** A run in the hands of `me`. */
async function inHand({ phase }: Way): Promise<RunRow> {
  serial += 1;
  const runnerId = `runner-${serial}`;
  await queueRun(test_.db, { orgId: ORG, id: `run_${serial}`, onlyRunner: runnerId });
  if (phase === "planning")
    await test_.db.queryInOrganization(ORG, "update runyard.runs set plans = true where id = $1 returning id", [`run_${serial}`]);
  const run = await claimRun(test_.db, { owner: "me", runnerId, events: [] });
  const entered = run && (await commitStep(test_.db, { run, change: { phase: phase ?? "building" } }));
  if (entered?.id !== `run_${serial}`) throw new Error("another run was claimed");
  return entered;
}

const write = ({ act }: Way, run: RunRow, secrets: RunSecrets): Promise<void> =>
  act(runHandle({ db: test_.db, wakes: createWakes() }, run, secrets));

/** All that is stored of a run, as text. */
async function storedOf({ id }: RunRow): Promise<string> {
  const rows = ["runs r where id", "events r where run_id", "requests r where run_id", "plans r where run_id", "outbox r where run_id"].map(
    (of) => test_.db.queryInOrganization<{ row: string }>(ORG, `select row_to_json(r)::text as row from runyard.${of} = $1`, [id]),
  );
  return (await Promise.all(rows))
    .flat()
    .map(({ row }) => row)
    .join("\n");
}

describe.each(Object.entries(WAYS))("%s", (_, way) => {
  test("tells no secret of the run", async () => {
    const run = await inHand(way);
    await write(way, run, SECRETS);
    const stored = await storedOf(run);
    expect(stored).toContain("It said [secret TOKEN].");
    expect(stored).not.toContain(SECRET);
    // The control: the same of a run that was given none.
    const other = await inHand(way);
    await write(way, other, NO_SECRETS);
    expect(await storedOf(other)).toContain(TOLD);
  });

  test("is not written by a runner that has lost the run", async () => {
    const run = await inHand(way);
    const before = await storedOf(run);
    await expect(write(way, { ...run, attempt: run.attempt - 1 }, NO_SECRETS)).rejects.toThrow(FencedError);
    expect(await storedOf(run)).toBe(before);
    const [adopted] = await adoptRuns(test_.db, { owner: "somebody", runnerId: run.runner_id ?? "" });
    expect(adopted?.id).toBe(run.id);
    const taken = await storedOf(run);
    await expect(write(way, run, NO_SECRETS)).rejects.toThrow(FencedError);
    expect(await storedOf(run)).toBe(taken);
    // The control: its owner may.
    await write(way, adopted!, NO_SECRETS);
    expect(await storedOf(run)).toContain(TOLD);
  });
});

describe.each(Object.entries(WAYS).filter(([, { letsGo }]) => letsGo))("%s", (_, way) => {
  test("does not keep a run waiting that is to be cancelled", async () => {
    const run = await inHand(way);
    await cancelRun(test_.db, { orgId: ORG, runId: run.id, reason: "no more", events: [] });
    await expect(write(way, run, NO_SECRETS)).rejects.toThrow(EndRequest);
    expect(await storedOf(run)).not.toContain(TOLD);
  });
});
