// Random sequences of every command that changes a run, on a real PostgreSQL, by people and by several
// processes of two homes, with lost connections and crashes in between; after every step the store must be
// what the pure run machine says. What fails is shrunk and printed with the command that repeats it.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Act, anyMoment, type Explain } from "./acts.ts";
import { difference, type Model, type Seen } from "./model.ts";
import { openStore, type Store, type World } from "./world.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const asked = process.env["RUNYARD_TEST_COMMANDS"];
const seed = process.env["RUNYARD_TEST_SEED"];
const path = process.env["RUNYARD_TEST_PATH"];
const SEQUENCES = asked === undefined ? (full ? 1_000 : 80) : Number(asked);
const LIMIT_MS = asked === undefined ? (full ? 120_000 : 8_000) : 24 * 3_600_000;

let store: Store;
beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store?.drop());

test(
  `whatever is done, the store is what the run machine says (${SEQUENCES} sequences)`,
  async () => {
    const failure = await failureOf({ sequences: SEQUENCES, limitMs: LIMIT_MS });
    // As its own message: a text that is compared is cut in reports, and how to see it again is at its end.
    expect(failure, failure ?? "").toBeNull();
  },
  LIMIT_MS + 60_000,
);

// Each takes one rule out of the database, and must be caught: without that, the test above proves nothing.
describe("a broken rule is caught:", () => {
  const rules = [
    ["a write is fenced by its owner", "commit_step", "x.owner = p_owner and", ""],
    ["a write is fenced by its cursor", "commit_step", "and x.out_cursor = p_out_from", ""],
    ["a turn that has ended takes no write", "commit_step", "and not runyard.is_terminal(x.status)", ""],
    ["an end gives the place back", "commit_step", "set active = s.active - 1", "set active = s.active"],
    ["the limit of an organization holds", "claim_run", "and s.active < s.max_active", ""],
    ["the oldest is claimed first", "claim_run", "order by y.num limit 1", "order by y.num desc limit 1"],
    [
      "what is for one runner goes to nobody else",
      "claim_run",
      "and (y.only_runner is null or y.only_runner = p_runner)\n        and (cap",
      "and (cap",
    ],
    [
      "a run is taken up only where the memory of its sandbox is",
      "claim_run",
      "and (p_room is null or y.id = p_first or runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) <= p_room)",
      "",
    ],
    ["an answer counts once", "answer_request", "and q.closed_at is null", ""],
    ["the last answer sets the run going", "answer_request", "x.open_requests = 1 and", ""],
    ["a queued run that is cancelled leaves the queue", "cancel_run", "set queued = s.queued - 1", "set queued = s.queued"],
    ["one attempt ends once", "next_attempt", "and x.attempt = p_attempt", ""],
    ["an attempt's questions end with it", "next_attempt", "q.run_id = r.id and q.closed_at is null", "false"],
    ["one turn follows another once", "continue_run", "and x.turn = p_turn and", "and"],
    ["a run that is continued is in nobody's hands", "continue_run", "owner = null,", ""],
    ["an approval counts once", "decide_approval", "and q.kind = 'approval' and q.closed_at is null", ""],
    ["an approved run queues", "decide_approval", "set queued = s.queued + 1", "set queued = s.queued"],
    ["a result that waits gives the place back", "hold_run", "set active = s.active - 1", "set active = s.active"],
    ["a run that is to be cancelled waits for nobody", "hold_run", "and x.cancel_reason is null", ""],
    ["a result is decided about once", "decide_held", "and q.kind = 'approval' and q.closed_at is null", ""],
    ["a key stands for one run", "admit_create", "k.expires_at <= now()", "true"],
    ["a plan gives the place back", "propose_plan", "set active = s.active - 1", "set active = s.active"],
    ["a run that is to be cancelled proposes nothing", "propose_plan", "and x.cancel_reason is null", ""],
    ["a decision is about one version", "decide_plan", "and x.plan_version = p_version", ""],
    ["an approved plan queues its run", "decide_plan", "set queued = s.queued + 1", "set queued = s.queued"],
    ["an answer to an agent that was let go queues its run", "answer_request", "set queued = s.queued + 1", "set queued = s.queued"],
    ["an agent that is let go gives its place back", "release_run", "set active = s.active - 1", "set active = s.active"],
    [
      "what an agent has left to be answered is waited for",
      "release_run",
      "open_requests = x.open_requests + asked",
      "open_requests = x.open_requests",
    ],
    ["a run that waits for checks gives its place back", "await_checks", "set active = s.active - 1", "set active = s.active"],
    ["a run that is to be cancelled waits for no checks", "await_checks", "and x.cancel_reason is null", ""],
    ["only a run in nobody's hands is ended by its checks", "end_checks", "and x.owner is null", ""],
    ["checks are those of one attempt", "end_checks", "and x.attempt = p_attempt", ""],
    ["a run that goes back to its agent queues", "end_checks", "set queued = s.queued + 1", "set queued = s.queued"],
    ["a lost runner's run is taken from its owner once", "end_lost_attempt", "and x.owner = p_owner and x.attempt = p_attempt", ""],
    ["a lost run gives its place back", "end_lost_attempt", "set active = s.active - 1", "set active = s.active"],
    ["no turn of a stopped pull request begins", "keep_stopped", "case when", "case when false and"],
    [
      "all runs of a stopped pull request are cancelled",
      "stop_pull_request",
      "perform runyard.cancel_run(run_id, p_reason, p_types, p_data);",
      "",
    ],
    ["a run that opens a stopped pull request is cancelled", "cancel_if_stopped", "if stop.url is not null", "if false"],
    ["whoever adopts is the owner", "adopt_runs", "set owner = p_owner", "set owner = owner"],
  ] as const;

  test.each(full ? rules : rules.slice(0, 2))(
    "%s",
    async (_, name, rule, instead) => {
      const { rows } = await store.outside.query<{ text: string }>("select pg_get_functiondef($1::regproc) as text", [`runyard.${name}`]);
      const whole = rows[0]?.text ?? "";
      expect(whole).toContain(rule);
      await store.outside.query(whole.replace(rule, instead));
      try {
        expect(await failureOf({ sequences: 10_000, limitMs: 200_000, shrink: false })).toMatch(/must be|had to be|was written|rejected/);
      } finally {
        await store.outside.query(whole);
      }
    },
    260_000,
  );
});

/** What went wrong and how to see it again, or null. */
async function failureOf(options: { sequences: number; limitMs: number; shrink?: boolean }): Promise<string | null> {
  const property = fc.asyncProperty(fc.array(anyMoment, { minLength: 1, maxLength: 50, size: "max" }), async (moments) => {
    const world = await store.newWorld();
    try {
      await play(world, moments);
    } finally {
      await store.leave(world);
    }
  });
  const found = await fc.check(property, {
    numRuns: options.sequences,
    interruptAfterTimeLimit: options.limitMs,
    markInterruptAsFailure: false,
    ...(options.shrink === false ? { endOnFailure: true } : {}),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path, endOnFailure: true }),
  });
  if (!found.failed) return null;
  const again = `RUNYARD_TEST_SEED=${found.seed} RUNYARD_TEST_PATH=${found.counterexamplePath} npm test -- packages/runyard/test/commands`;
  const why = found.errorInstance instanceof Error ? found.errorInstance.message : String(found.errorInstance);
  return `${why}\nThe same again: ${again}`;
}

async function play(world: World, moments: readonly (readonly Act[])[]): Promise<void> {
  let model: Model = { runs: new Map(), keys: new Map(), stopped: new Set() };
  const told: string[] = [];
  for (const acts of moments) {
    told.push(acts.join(" | "));
    world.racing = acts.length > 1;
    const done = await Promise.allSettled(acts.map(async (one) => one.perform(world, model)));
    const seen = await world.look();
    const failed = done.find((one) => one.status === "rejected");
    if (failed !== undefined) throw new Error(`${told.join("\n")}\nrejected: ${String(failed.reason)}`);
    const next = explained(
      model,
      done.flatMap((one) => (one.status === "fulfilled" ? one.value : [])),
      seen,
    );
    if (typeof next === "string") throw new Error(`${told.join("\n")}\n${next}`);
    model = next;
  }
}

/** The model behind all of this, in the first order that explains what was seen; where none does, why not. */
function explained(model: Model, explains: readonly Explain[], seen: Seen): Model | string {
  const complaints: string[] = [];
  for (const order of orders(explains)) {
    const next = structuredClone(model);
    const complaint = order.map((explain) => explain(next)).find((one) => one !== null) ?? difference(next, seen);
    if (complaint === null) return next;
    complaints.push(complaint);
  }
  return complaints.join("\nand in another order:\n");
}

function orders<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]];
  return list.flatMap((first, index) => orders(list.toSpliced(index, 1)).map((rest) => [first, ...rest]));
}
