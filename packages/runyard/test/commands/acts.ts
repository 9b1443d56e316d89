// What can be done with the store, by whom, and what must follow from it. An act does something for real and
// gives back how the model explains what was seen; acts that happen at once are explained in some order.
// To add a command: one more function here, and its place in `anyAct`.
import { createHash } from "node:crypto";
import {
  checksSettingsSchema,
  type EventData,
  isTerminal,
  type NewEvent,
  type PullRequest,
  type RunError,
  type RunResult,
} from "@runyard/sdk/contract";
import fc from "fast-check";
import { canHappen, QUEUED, type RunFact, transition } from "../../src/core/run-machine.ts";
import { NO_USAGE } from "../../src/core/usage.ts";
import { EndRequest, FencedError, type RunHandle, runHandle } from "../../src/runner/run-handle.ts";
import { createRunOnce } from "../../src/store/creating.ts";
import { DatabaseUnavailableError } from "../../src/store/database.ts";
import { attemptSettingsOf, NO_TRIES } from "../../src/core/attempts.ts";
import { type Admission, LEAST_MEMORY_BYTES } from "../../src/core/memory.ts";
import type { WatchedChecks } from "../../src/core/checks.ts";
import { NO_PLAN } from "../../src/core/plan.ts";
import { decideApproval } from "../../src/store/approvals.ts";
import { type ChecksEnd, endChecks } from "../../src/store/checks.ts";
import { decideHeld } from "../../src/store/holds.ts";
import { decidePlan } from "../../src/store/plans.ts";
import { allowPullRequest, stopPullRequest } from "../../src/store/pull-request-stops.ts";
import { notePullRequest } from "../../src/store/pull-requests.ts";
import { type Carry, machineState, type NewApproval, type RunRow, type RunSpec } from "../../src/store/run-row.ts";
import { allRunners, endLostAttempt, markRunnerLost } from "../../src/store/runners.ts";
import { adoptRuns, answerRequest, cancelRun, claimRun, type NewRun, reloadRun } from "../../src/store/runs.ts";
import { continueRun } from "../../src/store/turns.ts";
import { countsOf, happen, isLiving, MAX_ACTIVE, type Model, type ModelRun, runsOf, say } from "./model.ts";
import { type Fault, faulty, type Owner, said, withFault, type World } from "./world.ts";

/** Changes the model to what must be true after what was seen; a complaint where nothing explains it. */
export type Explain = (model: Model) => string | null;

export interface Act {
  perform(world: World, model: Model): Promise<Explain>;
  /** For the report of a failure. */
  toString(): string;
}

const NOTHING: Explain = () => null;
const ERROR: RunError = { type: "agent-error", message: "x" };
const RESULT: RunResult = { summary: "", headBranch: null, headCommit: null, baseCommit: "", filesChanged: 0, insertions: 0, deletions: 0 };
const CARRY: Carry = { attempts: [], head: null, published: null, sessionId: null, prompt: "Before", lastWords: null };
const SPEC: RunSpec = {
  agent: { profile: "builtin", command: null },
  model: null,
  permissionPolicy: { ask: [], deny: [] },
  timeoutMs: 60_000,
  sandboxDriver: "process",
};

const CHECKS: WatchedChecks = {
  ...checksSettingsSchema.parse({}),
  place: { apiUrl: "https://api.example.com", owner: "acme", name: "app", tokenUrl: "https://example.com/acme/app" },
};

const estimate = { cost: null, executionTime: null, range: null, basis: "unknown", runs: 0 } as const;
const approvalOf = (turn: number): NewApproval => ({
  id: `approval_${turn}`,
  request: { title: "x", toolKind: null, approval: { estimate, aboveUsd: 5 } },
});
const requested = (turn: number): Extract<RunFact, { type: "approval_requested" }> => ({
  type: "approval_requested",
  request: { approvalId: `approval_${turn}`, title: "x", estimate, aboveUsd: 5 },
});

const act = (words: readonly unknown[], perform: Act["perform"]): Act => ({
  perform,
  toString: () => words.filter((word) => word !== "none" && word !== null && word !== false).join(" "),
});

function at<T>(list: readonly T[], index: number): T | undefined {
  return list[index % Math.max(1, list.length)];
}

function runAt(model: Model, index: number): ModelRun | undefined {
  return at([...model.runs.values()], index);
}

function wrong(seen: string, wanted: string): string {
  return `${seen} was seen where ${wanted} had to be`;
}

function factsOf(state: ModelRun["state"], facts: readonly RunFact[]): NewEvent[] {
  let now = state;
  return facts.flatMap((fact) => {
    const next = transition(now, fact);
    if (!next.ok) return [];
    now = next.state;
    return next.events;
  });
}

interface Create {
  readonly org: number;
  readonly key: string | null;
  /** With no model the run has failed at once. */
  readonly body: "task" | "other task" | "no model" | "plan first" | "for one runner" | "to be approved" | "much memory";
  readonly fault: Fault;
}

function create({ org, key, body, fault }: Create): Act {
  return act(["create", `org${org}`, key, body, fault], async (world) => {
    const orgId = at(world.orgIds, org) ?? "";
    const error = body === "no model" ? ERROR : null;
    const onlyRunner = body === "for one runner" ? (world.owners[0]?.runnerId ?? null) : null;
    const waits = body === "to be approved";
    const needsMuch = body === "much memory";
    const first: RunFact[] = [...(error === null ? [] : [{ type: "broke", error } as const]), ...(waits ? [requested(1)] : [])];
    const events: NewEvent[] = [said("created"), ...factsOf(QUEUED, first)];
    const run: NewRun = {
      id: world.newName("run"),
      orgId,
      userId: `user_${orgId}`,
      repositoryId: world.newName("repo"),
      task: body,
      repositoryUrl: "/repository",
      branch: null,
      baseCommit: "a".repeat(40),
      spec: {
        ...SPEC,
        ...(needsMuch && { attempts: attemptSettingsOf({ sandboxType: "high-memory" }) }),
        plan: { ...NO_PLAN, wanted: body === "plan first" },
      },
      simulated: false,
      usage: NO_USAGE,
      status: error !== null ? "failed" : waits ? "awaiting_input" : "pending",
      error,
      events,
      ...(onlyRunner !== null && { onlyRunner }),
      ...(waits && { approval: approvalOf(1) }),
    };
    const bodyHash = createHash("sha256").update(body).digest();
    const { done } = await withFault(world, fault, (db) => createRunOnce(db, run, { orgId, tokenId: `token_${orgId}`, key, bodyHash }));
    if (done === undefined) return NOTHING;
    const { outcome, runId, run: stored } = done.answer;
    return (model) => {
      const name = `${orgId} ${key}`;
      const known = key === null ? undefined : model.keys.get(name);
      const wanted = known === undefined ? "new" : known.body === body ? "replay" : "mismatch";
      if (outcome !== wanted) return wrong(outcome, wanted);
      if (known !== undefined) return runId === known.runId ? null : wrong(`run ${runId}`, known.runId);
      if (stored === undefined) return wrong("no run", "a new one");
      if (key !== null) model.keys.set(name, { body, runId: run.id });
      const made: ModelRun = {
        id: run.id,
        orgId,
        num: stored.num,
        state: { ...QUEUED, plans: body === "plan first" },
        owner: null,
        runnerId: null,
        onlyRunner,
        isHeld: false,
        needsMuch,
        cancelWanted: false,
        plans: [],
        out: 0,
        in: 0,
        requests: new Map(),
        log: [],
        pulls: new Set(),
      };
      say(made, [said("created")]);
      for (const fact of first) happen(made, fact);
      model.runs.set(run.id, made);
      const place = made.state.status === "pending" ? countsOf(model, orgId).queued : null;
      return stored.queue_position === place ? null : wrong(`place ${stored.queue_position}`, String(place));
    };
  });
}

const SMALL: Admission = { roomBytes: LEAST_MEMORY_BYTES, first: null, passed: null };

/** What a claimer has memory for: anything, or sandboxes of the smallest size. */
const ROOMS = ["any", "the smallest"] as const;
type Room = (typeof ROOMS)[number];

function claim(by: number, room: Room, fault: Fault): Act {
  return act(["claim by", `owner${by}`, "with room for", room, fault], async (world) => {
    const owner = at(world.owners, by) as Owner;
    const { name, runnerId, rows } = owner;
    const { racing } = world;
    const fact = { type: "claimed", runnerId } as const;
    const events = factsOf(QUEUED, [fact]);
    const laterEvents = factsOf({ ...QUEUED, turn: 2 }, [fact]);
    const againEvents = factsOf({ ...QUEUED, begun: true }, [fact]);
    const { lost, done } = await withFault(world, fault, (db) =>
      claimRun(db, { owner: name, runnerId, events, laterEvents, againEvents, ...(room !== "any" && { admission: SMALL }) }),
    );
    if (done === undefined) return NOTHING;
    const row = done.answer;
    if (row !== undefined && !lost) rows.set(row.id, row);
    return (model) => {
      const claimable = world.orgIds.flatMap((orgId) => {
        const isFor = ({ onlyRunner, needsMuch }: ModelRun): boolean =>
          (onlyRunner === null || onlyRunner === runnerId) && (room === "any" || !needsMuch);
        const first = runsOf(model, orgId).find((run) => run.state.status === "pending" && isFor(run));
        return first !== undefined && countsOf(model, orgId).active < MAX_ACTIVE ? [first] : [];
      });
      // What somebody else holds this moment is passed over, and found by the next claim.
      if (row === undefined)
        return claimable.length === 0 || racing ? null : wrong("nothing to claim", claimable.map(({ id }) => id).join(" or "));
      const run = claimable.find(({ id }) => id === row.id);
      if (run === undefined) return wrong(`a claim of ${row.id}`, `one of ${claimable.map(({ id }) => id).join()}`);
      happen(run, fact);
      [run.owner, run.runnerId] = [name, runnerId];
      return null;
    };
  });
}

/** What an owner does with a run in its hands; "late" ones were on their way for long, with what their owner knew then. */
const STEPS = [
  "enter",
  "read",
  "ask",
  "ask two",
  "finish",
  "break",
  "pass deadline",
  "end cancelled",
  "retry",
  "propose",
  "propose",
  "let go",
  "leave asking",
  // Often: one comes behind the other.
  "enter publishing",
  "enter publishing",
  "hold",
  "hold",
  "await checks",
  "see to its end",
] as const;
const LATE_STEPS = ["late read", "late finish", "late retry"] as const;
type Step = (typeof STEPS)[number] | (typeof LATE_STEPS)[number];

const ASKING: ReadonlySet<Step> = new Set(["ask", "ask two", "let go", "leave asking"]);

/** What a step writes, given the row that its owner remembers. */
interface Writing {
  /** null: no fact of the machine. */
  readonly fact: RunFact | null;
  readonly events: readonly NewEvent[];
  readonly lines: readonly string[];
  readonly read: number;
  readonly requests: readonly string[];
}

function writingOf(step: Step, row: RunRow, world: World): Writing {
  const plain = { fact: null, events: [], lines: [], read: 0, requests: [] };
  const asks = (count: number): Writing => {
    const requests = Array.from({ length: count }, () => world.newName("perm"));
    return { ...plain, fact: { type: "asked", requests: count }, read: 7 * count, events: requests.map(said), requests };
  };
  // In this phase there is no agent that could ask.
  if (row.phase === "publishing" && ASKING.has(step)) return plain;
  switch (step) {
    case "enter publishing":
      return { ...plain, fact: { type: "entered", phase: "publishing" } };
    case "hold": {
      const hold = { approvalId: `publish_${row.turn}_${row.attempt}`, title: "x", commit: "c", files: [], count: 0 };
      return { ...plain, fact: { type: "held", hold } };
    }
    case "enter":
      return { ...plain, fact: { type: "entered", phase: row.phase === "building" ? "verifying" : "building" }, lines: ["begin\n"] };
    case "read":
    case "late read":
      return { ...plain, read: 11, events: [said("one"), said("two")], lines: ["é\n", "x\n"] };
    case "ask":
      return asks(1);
    case "ask two":
      return asks(2);
    case "finish":
    case "late finish":
      return { ...plain, fact: { type: "finished", result: RESULT }, events: [said("done")] };
    case "break":
      return { ...plain, fact: { type: "broke", error: ERROR } };
    case "pass deadline":
      return { ...plain, fact: { type: "deadline_passed", error: ERROR } };
    case "end cancelled":
      return { ...plain, fact: { type: "cancelled", reason: "x" } };
    case "retry":
    case "late retry": {
      const retry = { attempt: row.attempt + 1, error: ERROR, delayMs: 0, timeout: 60_000, sandboxType: "standard" } as const;
      return { ...plain, fact: { type: "retried", retry }, events: [said("withdrawn")] };
    }
    case "propose": {
      const plan = { version: row.plan_version + 1, text: "Do it.", hash: "h", source: "message", dueAt: null } as const;
      return { ...plain, fact: { type: "plan_proposed", plan }, events: [said("dropped")] };
    }
    case "let go":
      return { ...plain, fact: { type: "released", notice: { level: "info", code: "agent-released", message: "x" } } };
    case "leave asking": {
      const requests = [world.newName("ask"), world.newName("ask")];
      const questions = requests.map((questionId) => ({ questionId, question: "x" }));
      return { ...plain, fact: { type: "left_asking", questions }, events: [said("done")], requests };
    }
    case "await checks": {
      const started = { commit: "c", branch: "b", timeout: 60_000 };
      return { ...plain, fact: { type: "checks_awaited", started }, events: [said("published")] };
    }
    case "see to its end":
      // A runner asks whether the run is still its own before it kills anything.
      return plain;
  }
}

async function write(handle: RunHandle, { fact, events, lines, read, requests }: Writing): Promise<void> {
  const outTo = handle.row.out_cursor + read;
  if (fact?.type === "checks_awaited") {
    const { commit, branch } = fact.started;
    const effect = { checks: CHECKS, commit, branch, before: null, result: RESULT, pullRequest: null };
    await handle.awaitChecks({ fact, events, effectId: `${handle.row.id}:${handle.row.last_seq}:${handle.row.attempt}`, effect });
  } else if (fact?.type === "plan_proposed") {
    const { text, hash, source } = fact.plan;
    await handle.propose({ fact, events, state: {}, text, hash, source, dueMs: null });
  } else if (fact?.type === "released") await handle.release({ fact, events, requests: [], carry: CARRY, state: {} });
  else if (fact?.type === "held") {
    const hold = { id: fact.hold.approvalId, request: { title: "x", toolKind: null, files: [] } };
    await handle.hold({ fact, hold, result: RESULT, carry: CARRY, state: {} });
  } else if (fact?.type === "left_asking") {
    const left = requests.map((id, n) => ({ id, kind: "question", offset: outTo + 3 + n }));
    await handle.release({ fact, events, requests: left, carry: CARRY, state: {} });
  } else if (fact?.type === "retried") await handle.retry({ fact, events, state: {}, delayMs: 0, carry: null });
  else if (fact === null || fact.type === "asked")
    await handle.commit({ events, lines, outTo, requests: requests.map((id, n) => ({ id, kind: "permission", offset: outTo + n })) });
  else await handle.happen(fact, { events, lines });
}

type Outcome = "written" | "fenced" | "to be cancelled" | "lost" | "impossible";

async function outcomeOf(work: Promise<void>): Promise<Outcome> {
  try {
    await work;
    return "written";
  } catch (error) {
    if (error instanceof FencedError) return "fenced";
    if (error instanceof EndRequest) return "to be cancelled";
    if (error instanceof DatabaseUnavailableError) return "lost";
    if (error instanceof Error && error.message.includes("cannot happen to run")) return "impossible";
    throw error;
  }
}

function stepOf(step: Step, which: number, fault: Fault): Act {
  return act([step, `hand${which}`, fault], async (world, model) => {
    const isLate = step.startsWith("late");
    const hands = world.owners.flatMap((owner) => [...(isLate ? owner.before : owner.rows)].map(([id, row]) => ({ owner, id, row })));
    const hand = at(hands, which);
    if (hand === undefined) return NOTHING;
    const { owner, id, row } = hand;
    const name = `${owner.name} ${id}`;
    if (world.busy.has(name)) return NOTHING;
    world.busy.add(name);
    try {
      if (row === "unsure") return await takeUpAgain(world, owner, { id, orgId: model.runs.get(id)?.orgId ?? "" });
      const line = faulty(world, fault);
      const handle = runHandle({ db: line.db, wakes: world.wakes }, row);
      const writing = writingOf(step, row, world);
      const outcome = await outcomeOf(write(handle, writing));
      if (outcome === "written") {
        owner.before.set(id, row);
        owner.rows.set(id, handle.row);
      }
      if (outcome === "lost") owner.rows.set(id, "unsure");
      if ((outcome === "fenced" && !isLate) || isTerminal(handle.row.status) || handle.row.owner === null) owner.rows.delete(id);
      const done = line.done();
      return (now) => explainStep(now, { row, writing, outcome, isWritten: done === undefined ? null : done.length > 0 });
    } finally {
      world.busy.delete(name);
    }
  });
}

/** What was remembered is not sure any more: the row tells, to whom it still belongs. */
async function takeUpAgain(world: World, owner: Owner, run: { readonly id: string; readonly orgId: string }): Promise<Explain> {
  const row = await reloadRun(world.db, { id: run.id, org_id: run.orgId });
  if (row === undefined || row.owner !== owner.name || isTerminal(row.status)) owner.rows.delete(run.id);
  else owner.rows.set(run.id, row);
  return (model) =>
    model.runs.get(run.id)?.state.attempt === row?.attempt || world.racing ? null : wrong(`attempt ${row?.attempt}`, "another");
}

const GIVE_AWAY: ReadonlySet<RunFact["type"]> = new Set(["plan_proposed", "released", "left_asking", "held", "checks_awaited"]);

function mayBe(fact: RunFact, row: RunRow): boolean {
  if (fact.type === "held") return row.phase === "publishing";
  return fact.type !== "plan_proposed" || row.plans;
}

function explainStep(
  model: Model,
  { row, writing, outcome, isWritten }: { row: RunRow; writing: Writing; outcome: Outcome; isWritten: boolean | null },
): string | null {
  const run = model.runs.get(row.id) as ModelRun;
  const { fact, events, lines, read, requests } = writing;
  // A runner decides by what it has seen last.
  const canBe = fact === null || (canHappen(row.status, fact.type) && mayBe(fact, row));
  if (canBe !== (outcome !== "impossible")) return wrong(outcome, canBe ? "a write" : "a refusal by the machine");
  if (isWritten === null) return null;
  const isMine = run.owner === row.owner && run.state.attempt === row.attempt && isLiving(run);
  const givesAway = fact !== null && GIVE_AWAY.has(fact.type);
  const isFresh = givesAway || fact?.type === "retried" || run.out === row.out_cursor;
  const isWanted = !givesAway || !run.cancelWanted;
  if (isWritten !== (isMine && isFresh && isWanted)) return wrong(isWritten ? "a write" : "a refusal", isWritten ? "a refusal" : "a write");
  if (!isWritten) return null;
  run.out += read;
  if (fact === null || fact.type === "asked") say(run, events);
  for (const id of requests) run.requests.set(id, "open");
  if (fact !== null && !happen(run, fact, fact.type === "asked" ? [] : events))
    return `${fact.type} was written to a run that is ${run.state.status}`;
  run.in += lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0);
  return null;
}

/** A server starts in a home and takes over its runs; the one before may still be there, and not know it. */
function adopt(home: number, fault: Fault): Act {
  return act(["adopt", `home${home}`, fault], async (world) => {
    const { runnerId } = at(world.owners.slice(0, 2), home) as Owner;
    const owner: Owner = { name: world.newName("owner"), runnerId, rows: new Map(), before: new Map() };
    world.owners.push(owner);
    const { lost, done } = await withFault(world, fault, (db) => adoptRuns(db, { owner: owner.name, runnerId }));
    if (done === undefined) return NOTHING;
    if (!lost) for (const row of done.answer) owner.rows.set(row.id, row);
    const taken = done.answer.map(({ id }) => id).toSorted();
    return (model) => {
      const living = [...model.runs.values()].filter((run) => run.runnerId === runnerId && isLiving(run));
      for (const run of living) run.owner = owner.name;
      const wanted = living.map(({ id }) => id).toSorted();
      return taken.join() === wanted.join() ? null : wrong(`taking over ${taken.join()}`, wanted.join());
    };
  });
}

/** A sweeper sees to a run of a runner that is lost. */
function lose(options: { readonly run: number; readonly fault: Fault }): Act {
  const { fault } = options;
  return act(["lose the runner of", `run${options.run}`, fault], async (world, model) => {
    const run = runAt(model, options.run);
    const row = run && (await reloadRun(world.db, { id: run.id, org_id: run.orgId }));
    if (row === undefined || row.runner_id === null || row.owner === null) return NOTHING;
    await declareLost(world, row.runner_id);
    const wantsEnd = row.cancel_reason !== null;
    const retry = { attempt: row.attempt + 1, error: ERROR, delayMs: 0, timeout: 60_000, sandboxType: "standard" } as const;
    const fact: RunFact = wantsEnd ? { type: "cancelled", reason: "x" } : { type: "requeued", retry };
    const words = { run: row, events: factsOf(machineState(row), [fact]), resume: { tries: NO_TRIES }, error: null } as const;
    const { done } = await withFault(world, fault, (db) => endLostAttempt(db, { ...words, status: wantsEnd ? "cancelled" : "pending" }));
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(row.id) as ModelRun;
      const isSame = isLiving(mine) && mine.owner === row.owner && mine.state.attempt === row.attempt;
      const may = isSame && mine.cancelWanted === wantsEnd;
      if (may !== (done.answer !== undefined)) return wrong(may ? "a refusal" : "a loss", may ? "a loss" : "a refusal");
      if (!may) return null;
      happen(mine, fact);
      mine.owner = null;
      return null;
    };
  });
}

/** A runner that was alive a moment ago is lost; one that has renewed since it was looked at is not. */
async function declareLost(world: World, id: string): Promise<void> {
  await world.db.query("select runyard.renew_runner($1, 'p', 1000, '{}', true)", [id]);
  const beat = (await allRunners(world.db)).find((one) => one.id === id)?.beat ?? 0;
  const seen = { id, owner: "p", leaseMs: 1_000, isLost: false };
  if (await markRunnerLost(world.db, { ...seen, beat: beat - 1 })) throw new Error("a runner that has renewed was declared lost");
  await markRunnerLost(world.db, { ...seen, beat });
}

/** An owner loses what it remembers of a run: as good as dead for it. */
function forget(by: number, run: number): Act {
  return act(["forget", `by owner${by} run${run}`], async (world) => {
    const rows = at(world.owners, by)?.rows;
    const id = rows && at([...rows.keys()], run);
    if (rows !== undefined && id !== undefined && !world.busy.has(`${at(world.owners, by)?.name} ${id}`)) rows.delete(id);
    return NOTHING;
  });
}

function answer(options: { readonly run: number; readonly request: number; readonly fault: Fault }): Act {
  const { fault } = options;
  return act(["answer", `run${options.run} request${options.request}`, fault], async (world, model) => {
    const run = runAt(model, options.run);
    // An approval is answered in its own way.
    const requestId =
      run &&
      at(
        [...run.requests.keys()].filter((id) => !/^(approval|publish)_/.test(id)),
        options.request,
      );
    if (run === undefined || requestId === undefined) return NOTHING;
    const { id: runId, orgId } = run;
    const words = { orgId, runId, requestId, answer: "allow", by: "x", line: "allowed\n", event: said("answered") };
    const { done } = await withFault(world, fault, (db) => answerRequest(db, words));
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(runId) as ModelRun;
      const isOpen = mine.requests.get(requestId) === "open";
      if (isOpen !== (done.answer !== undefined)) return wrong(isOpen ? "a refusal" : "an answer", isOpen ? "an answer" : "a refusal");
      if (!isOpen) return null;
      mine.requests.set(requestId, "answered");
      if (isLiving(mine)) mine.in += words.line.length;
      return happen(mine, { type: "answered" }, [words.event]) ? null : `an answer to a run that is ${mine.state.status}`;
    };
  });
}

function cancel(index: number, fault: Fault): Act {
  return act(["cancel", `run${index}`, fault], async (world, model) => {
    const run = runAt(model, index);
    if (run === undefined) return NOTHING;
    const { id: runId, orgId } = run;
    const fact = { type: "cancelled", reason: "Cancelled by a person" } as const;
    const words = { orgId, runId, reason: fact.reason, events: factsOf(QUEUED, [fact]) };
    const { done } = await withFault(world, fault, (db) => cancelRun(db, words));
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(runId) as ModelRun;
      const ended = isTerminal(mine.state.status);
      if (ended === (done.answer !== undefined)) return wrong(ended ? "a cancel" : "a refusal", ended ? "a refusal" : "a cancel");
      if (ended) return null;
      mine.cancelWanted = true;
      if (!isLiving(mine)) happen(mine, fact);
      return null;
    };
  });
}

const addressOf = (number: number): string => `https://github.example/acme/app/pull/${number}`;

function pullOf(number: number): PullRequest {
  const words = { title: "x", headBranchName: "b", baseBranchName: "main", createdAt: "2026-01-01T00:00:00.000Z" };
  return { id: number, number, url: addressOf(number), state: "open", merged: false, draft: false, ...words };
}

/** A run is told of a pull request that was opened for it. */
function open(index: number, number: number, fault: Fault): Act {
  return act(["open", `pull${number}`, `of run${index}`, fault], async (world, model) => {
    const run = runAt(model, index);
    if (run === undefined) return NOTHING;
    const { id, orgId } = run;
    const { done } = await withFault(world, fault, (db) =>
      db.inOrganization(orgId, (tx) => notePullRequest(tx, { id, orgId }, pullOf(number))),
    );
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(id) as ModelRun;
      const isNew = !mine.pulls.has(number);
      mine.pulls.add(number);
      if (isNew && now.stopped.has(`${orgId} ${number}`)) beCancelled(mine);
      return null;
    };
  });
}

const STOPPED = { type: "cancelled", reason: "stopped" } as const;

/** False: it has ended, or is to be cancelled already. */
function beCancelled(run: ModelRun): boolean {
  if (isTerminal(run.state.status) || run.cancelWanted) return false;
  run.cancelWanted = true;
  if (!isLiving(run)) happen(run, STOPPED);
  return true;
}

function stop(org: number, number: number, fault: Fault): Act {
  return act(["stop", `pull${number}`, `of org${org}`, fault], async (world) => {
    const orgId = at(world.orgIds, org) ?? "";
    const words = {
      orgId,
      key: addressOf(number),
      url: addressOf(number),
      userId: "u",
      reason: STOPPED.reason,
      events: factsOf(QUEUED, [STOPPED]),
    };
    const { done } = await withFault(world, fault, (db) => stopPullRequest(db, words));
    if (done === undefined) return NOTHING;
    return (model) => {
      model.stopped.add(`${orgId} ${number}`);
      const ended = runsOf(model, orgId).flatMap((run) => (run.pulls.has(number) && beCancelled(run) ? run.id : []));
      return done.answer.join() === ended.toSorted().join() ? null : wrong(`a stop of ${done.answer.join()}`, `one of ${ended.join()}`);
    };
  });
}

function allow(org: number, number: number, fault: Fault): Act {
  return act(["allow", `pull${number}`, `of org${org}`, fault], async (world) => {
    const orgId = at(world.orgIds, org) ?? "";
    const { done } = await withFault(world, fault, (db) => allowPullRequest(db, orgId, addressOf(number)));
    if (done === undefined) return NOTHING;
    return (model) => {
      model.stopped.delete(`${orgId} ${number}`);
      return null;
    };
  });
}

function decide(options: {
  readonly run: number;
  readonly how: "approve" | "edit" | "revise" | "reject";
  readonly isStale: boolean;
  readonly fault: Fault;
}): Act {
  const { how, isStale, fault } = options;
  return act([how, `the plan of run${options.run}`, isStale && "of another version", fault], async (world, model) => {
    const run = runAt(model, options.run);
    if (run === undefined) return NOTHING;
    const { id, orgId } = run;
    const version = run.plans.length + (isStale ? -1 : 0);
    const fact = decisionOf(how, version);
    const { done } = await withFault(world, fault, (db) =>
      decidePlan(db, {
        run: { id, org_id: orgId },
        version,
        decision: how === "edit" || how === "approve" ? "approved" : how === "revise" ? "revised" : "rejected",
        by: null,
        note: null,
        edit: how === "edit" ? { text: "Do it well.", hash: "h2" } : null,
        carry: how === "reject" ? null : CARRY,
        events: factsOf({ ...run.state, status: "awaiting_plan" }, [fact]),
      }),
    );
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(id) as ModelRun;
      const may = mine.state.status === "awaiting_plan" && mine.plans.length === version;
      if (may !== (done.answer !== undefined)) return wrong(may ? "a refusal" : "a decision", may ? "a decision" : "a refusal");
      if (may) happen(mine, fact);
      return null;
    };
  });
}

function decisionOf(how: "approve" | "edit" | "revise" | "reject", version: number): RunFact {
  const by = "policy";
  if (how === "reject") return { type: "plan_rejected", rejection: { version, reason: "x", by } };
  if (how === "revise") return { type: "plan_revised", revision: { version, feedback: "x", by } };
  const edit = how === "edit" ? ({ version: version + 1, replaces: version, text: "Do it well.", hash: "h2", by } as const) : null;
  return { type: "plan_approved", approval: { version: edit?.version ?? version, hash: "h", by }, edit };
}

/** A person decides about the approval that a run waits for, or one of a turn before. */
function approve(options: { readonly run: number; readonly grants: boolean; readonly isStale: boolean; readonly fault: Fault }): Act {
  const { grants, isStale, fault } = options;
  return act([grants ? "approve" : "disapprove", `run${options.run}`, isStale && "in a turn before", fault], async (world, model) => {
    const run = runAt(model, options.run);
    if (run === undefined) return NOTHING;
    const { id: runId, orgId } = run;
    const turn = run.state.turn - (isStale ? 1 : 0);
    const { id } = approvalOf(turn);
    const fact: RunFact = grants
      ? { type: "approval_granted", grant: { approvalId: id, userId: "u" } }
      : { type: "approval_rejected", rejection: { approvalId: id, reason: "x", userId: "u" } };
    const events = factsOf({ ...run.state, status: "awaiting_input", begun: false, inHand: false }, [fact]);
    const decision = { run: { id: runId, org_id: orgId }, id, answer: grants ? "approved" : "rejected", by: "u", events } as const;
    const { done } = await withFault(world, fault, (db) => decideApproval(db, decision));
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(runId) as ModelRun;
      const may = mine.requests.get(id) === "open";
      if (may !== (done.answer !== undefined)) return wrong(may ? "a refusal" : "a decision", may ? "a decision" : "a refusal");
      return !may || happen(mine, fact) ? null : `an approval of a run that is ${mine.state.status}`;
    };
  });
}

/** A person decides about a result that waits, or that waited before. */
function decideResult(options: { readonly run: number; readonly request: number; readonly grants: boolean; readonly fault: Fault }): Act {
  const { grants, fault } = options;
  return act([grants ? "publish" : "do not publish", `run${options.run}`, fault], async (world, model) => {
    const run = runAt(model, options.run);
    const id =
      run &&
      at(
        [...run.requests.keys()].filter((one) => one.startsWith("publish_")),
        options.request,
      );
    if (run === undefined || id === undefined) return NOTHING;
    const { id: runId, orgId } = run;
    const fact: RunFact = grants
      ? { type: "approval_granted", grant: { approvalId: id, userId: "u" } }
      : { type: "hold_rejected", rejection: { approvalId: id, reason: "x", userId: "u" }, error: ERROR };
    const events = factsOf({ ...run.state, status: "awaiting_input", phase: "publishing", begun: true, inHand: false }, [fact]);
    const decision = { run: { id: runId, org_id: orgId }, id, answer: grants ? "approved" : "rejected", by: "u", events } as const;
    const { done } = await withFault(world, fault, (db) => decideHeld(db, { ...decision, error: grants ? null : ERROR }));
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(runId) as ModelRun;
      const may = mine.requests.get(id) === "open";
      if (may !== (done.answer !== undefined)) return wrong(may ? "a refusal" : "a decision", may ? "a decision" : "a refusal");
      if (may) mine.requests.set(id, "answered");
      return !may || happen(mine, fact) ? null : `a decision about the result of a run that is ${mine.state.status}`;
    };
  });
}

/** The checks of what a run published have ended, or those of an attempt before. */
function endOfChecks(options: {
  readonly run: number;
  readonly how: "passed" | "failed" | "fed back";
  readonly isStale: boolean;
  readonly fault: Fault;
}): Act {
  const { how, isStale, fault } = options;
  return act(["checks", how, `run${options.run}`, isStale && "of an attempt before", fault], async (world, model) => {
    const run = runAt(model, options.run);
    if (run === undefined) return NOTHING;
    const { id, orgId } = run;
    const attempt = run.state.attempt - (isStale ? 1 : 0);
    const finished: EventData<"checks.finished"> = { commit: "c", outcome: "fed-back", rounds: 1, checks: [], message: "x" };
    const fact: RunFact =
      how === "passed"
        ? { type: "finished", result: RESULT }
        : how === "failed"
          ? { type: "broke", error: ERROR }
          : { type: "checks_fed_back", finished, text: "x" };
    const end: ChecksEnd = {
      status: how === "passed" ? "completed" : how === "failed" ? "failed" : "pending",
      events: factsOf({ ...run.state, status: "running", inHand: false }, [fact]),
      goesOn: how === "fed back" ? { carry: CARRY, state: {} } : null,
      result: how === "fed back" ? null : RESULT,
      error: how === "failed" ? ERROR : null,
    };
    const { done } = await withFault(world, fault, (db) => db.inOrganization(orgId, (tx) => endChecks(tx, { id, attempt }, end)));
    if (done === undefined) return NOTHING;
    return (now) => {
      const mine = now.runs.get(id) as ModelRun;
      const may = mine.state.status === "running" && !isLiving(mine) && mine.state.attempt === attempt;
      if (may !== (done.answer !== undefined)) return wrong(may ? "a refusal" : "an end of checks", may ? "an end of checks" : "a refusal");
      return !may || happen(mine, fact) ? null : `${fact.type} of a run that is ${mine.state.status}`;
    };
  });
}

function goOn(options: {
  readonly approval: boolean;
  readonly allows: boolean;
  readonly plans: boolean;
  readonly run: number;
  readonly isStale: boolean;
  readonly noModel: boolean;
  readonly fault: Fault;
}): Act {
  const { plans, allows, isStale, noModel, fault } = options;
  const waits = options.approval && !noModel;
  return act(
    [
      "continue",
      plans && "with a plan",
      allows && "and allow it",
      waits && "to be approved",
      `run${options.run}`,
      isStale && "from a turn before",
      noModel && "without a model",
      fault,
    ],
    async (world, model) => {
      const run = runAt(model, options.run);
      if (run === undefined) return NOTHING;
      const { id, orgId } = run;
      const turn = run.state.turn - (isStale ? 1 : 0);
      const facts: RunFact[] = [
        { type: "continued", prompt: "Go on", plans },
        ...(noModel ? [{ type: "broke", error: ERROR } as const] : []),
        ...(waits ? [requested(turn + 1)] : []),
      ];
      const events = factsOf({ ...run.state, status: "completed" }, facts);
      const next = {
        run: { id, org_id: orgId, turn },
        prompt: "Go on",
        spec: SPEC,
        carry: CARRY,
        plans,
        error: noModel ? ERROR : null,
        ...(waits && { approval: approvalOf(turn + 1) }),
        allowsPullRequest: allows,
        events,
      };
      const { done } = await withFault(world, fault, (db) => continueRun(db, next));
      if (done === undefined) return NOTHING;
      return (now) => {
        const mine = now.runs.get(id) as ModelRun;
        const isOver = isTerminal(mine.state.status) && mine.state.turn === turn;
        const stops = [...mine.pulls].map((number) => `${orgId} ${number}`);
        if (isOver && allows) for (const name of stops) now.stopped.delete(name);
        const may = isOver && !stops.some((name) => now.stopped.has(name));
        if (may !== (done.answer !== undefined)) return wrong(may ? "a refusal" : "a next turn", may ? "a next turn" : "a refusal");
        if (may) for (const fact of facts) happen(mine, fact);
        return null;
      };
    },
  );
}

const few = fc.nat({ max: 5 });
const fault: fc.Arbitrary<Fault> = fc.oneof({ weight: 8, arbitrary: fc.constant("none" as const) }, fc.constantFrom("before", "after"));
// The last ones are those that work now; those before them are gone, and do not know it.
const owner = fc.nat({ max: 7 });

/** One act, by its weight in a sequence. */
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        org: fc.nat({ max: 1 }),
        key: fc.constantFrom(null, "key1", "key2"),
        body: fc.constantFrom(
          "task",
          "task",
          "plan first",
          "plan first",
          "other task",
          "no model",
          "for one runner",
          "to be approved",
          "much memory",
        ),
        fault,
      })
      .map((words) => create(words as Create)),
  },
  { weight: 6, arbitrary: fc.tuple(owner, fc.constantFrom("any", ...ROOMS), fault).map((words) => claim(...words)) },
  { weight: 18, arbitrary: fc.tuple(fc.constantFrom(...STEPS), few, fault).map((words) => stepOf(...words)) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom(...LATE_STEPS), few, fault).map((words) => stepOf(...words)) },
  { weight: 3, arbitrary: fc.tuple(fc.nat({ max: 1 }), fault).map(([home, how]) => adopt(home, how)) },
  { weight: 1, arbitrary: fc.tuple(owner, few).map(([by, run]) => forget(by, run)) },
  { weight: 2, arbitrary: fc.record({ run: few, fault }).map(lose) },
  { weight: 6, arbitrary: fc.record({ run: few, request: few, fault }).map(answer) },
  { weight: 3, arbitrary: fc.tuple(few, fault).map(([run, how]) => cancel(run, how)) },
  { weight: 3, arbitrary: fc.tuple(few, fc.nat({ max: 1 }), fault).map((words) => open(...words)) },
  { weight: 1, arbitrary: fc.tuple(fc.nat({ max: 1 }), fc.nat({ max: 1 }), fault).map((words) => stop(...words)) },
  { weight: 1, arbitrary: fc.tuple(fc.nat({ max: 1 }), fc.nat({ max: 1 }), fault).map((words) => allow(...words)) },
  {
    weight: 4,
    arbitrary: fc
      .record({ run: few, how: fc.constantFrom("passed" as const, "failed" as const, "fed back" as const), isStale: fc.boolean(), fault })
      .map(endOfChecks),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        run: few,
        plans: fc.boolean(),
        approval: fc.boolean(),
        allows: fc.boolean(),
        isStale: fc.boolean(),
        noModel: fc.boolean(),
        fault,
      })
      .map(goOn),
  },
  { weight: 4, arbitrary: fc.record({ run: few, grants: fc.boolean(), isStale: fc.boolean(), fault }).map(approve) },
  { weight: 4, arbitrary: fc.record({ run: few, request: few, grants: fc.boolean(), fault }).map(decideResult) },
  {
    weight: 4,
    arbitrary: fc
      .record({
        run: few,
        how: fc.constantFrom("approve" as const, "edit" as const, "revise" as const, "reject" as const),
        isStale: fc.boolean(),
        fault,
      })
      .map(decide),
  },
);

/** Acts that begin together; one alone is the ordinary case. */
export const anyMoment: fc.Arbitrary<readonly Act[]> = fc.oneof(
  { weight: 4, arbitrary: anyAct.map((one) => [one]) },
  { weight: 1, arbitrary: fc.array(anyAct, { minLength: 2, maxLength: 3 }) },
);
