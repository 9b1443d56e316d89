import { randomBytes } from "node:crypto";
import {
  type ExchangeDetail,
  isTerminal,
  isTerminalEventType,
  type Run,
  RUN_PERMISSIONS,
  RunyardError,
  type RunStatus,
  type ServerStatus,
} from "@runyard/sdk/contract";
import type { ApiEngine, Principal, StoredEvent } from "../engine.ts";
import { bytesOf } from "./bytes-of.ts";
import { createLogAgents } from "./log-agents.ts";
import { createLogSettings } from "./log-settings.ts";

interface Entry {
  readonly orgId: string;
  run: Run;
  readonly events: StoredEvent[];
}

export interface LogEngine extends ApiEngine {
  /** A run of an organization, with an empty log. */
  addRun(orgId: string, change?: Partial<Run>): Run;
  append(runId: string, type: string, data?: Record<string, unknown>): void;
  setReady(ready: boolean): void;
  /** Reads of any log so far, and the events that they gave. */
  readonly reads: { count: number; events: number };
  subscriptions(): number;
}

const END_STATUS: Readonly<Record<string, RunStatus>> = {
  "run.completed": "completed",
  "run.failed": "failed",
  "run.cancelled": "cancelled",
  "run.timeout": "timeout",
};

/** Runs and logs in memory: what the door's own tests stand on. It keeps the engine's promises and does no work. */
export function createLogEngine(): LogEngine {
  const entries = new Map<string, Entry>();
  const wakes = new Map<string, Set<() => void>>();
  const reads = { count: 0, events: 0 };
  let isReady = true;

  const find = (principal: Principal, id: string): Entry => {
    const entry = entries.get(id);
    if (entry === undefined || entry.orgId !== principal.orgId) throw new RunyardError("run_not_found", `There is no run ${id}.`);
    return entry;
  };
  const addRun = (orgId: string, change: Partial<Run> = {}): Run => {
    const run = { ...blankRun(entries.size + 1), ...change };
    entries.set(run.id, { orgId, run, events: [] });
    return run;
  };
  const append = (runId: string, type: string, data: Record<string, unknown> = {}): void => {
    const entry = entries.get(runId);
    if (entry === undefined) throw new Error(`no run ${runId}`);
    const seq = entry.events.length + 1;
    const envelope = { seq, id: `${runId}:${seq}`, runId, turn: 1, attempt: 1, at: "2026-11-20T10:00:00.000Z", type, data };
    entry.events.push({ seq, type, json: JSON.stringify(envelope) });
    entry.run = {
      ...entry.run,
      lastSeq: seq,
      queuePosition: null,
      queueReason: null,
      status: isTerminalEventType(type) ? (END_STATUS[type] ?? "failed") : "running",
    };
    for (const wake of wakes.get(runId) ?? []) wake();
  };
  const answer = (principal: Principal, id: string, requestId: string): Run => {
    const entry = find(principal, id);
    if (!entry.run.waitingFor.some((request) => request.id === requestId)) {
      throw new RunyardError("request_not_found", `Run ${id} has no request ${requestId}.`);
    }
    entry.run = { ...entry.run, waitingFor: entry.run.waitingFor.filter((request) => request.id !== requestId) };
    return entry.run;
  };

  const engine: LogEngine = {
    addRun,
    append,
    reads,
    setReady: (ready) => void (isReady = ready),
    subscriptions: () => [...wakes.values()].reduce((sum, set) => sum + set.size, 0),
    readiness: async () => [
      { name: "database", state: isReady ? "ok" : "failed", reason: isReady ? null : "The database does not answer." },
      { name: "clock", state: "warning", reason: "The clock is odd." },
    ],
    createRun: async (principal, input) => ({
      run: addRun(principal.orgId, { task: input.task, repositoryUrl: input.repositoryUrl }),
      replayed: false,
      rate: null,
    }),
    getRun: async (principal, id) => find(principal, id).run,
    plan: async (principal, id) => {
      find(principal, id);
      return { data: [] };
    },
    confirmPlan: async (principal, id) => noPlan(find(principal, id).run),
    rejectPlan: async (principal, id) => noPlan(find(principal, id).run),
    revisePlan: async (principal, id) => noPlan(find(principal, id).run),
    approveRun: async (principal, id) => noApproval(find(principal, id).run),
    rejectRun: async (principal, id) => noApproval(find(principal, id).run),
    changePullRequest: async (principal, id) => {
      throw new RunyardError("no_pull_request", `Run ${find(principal, id).run.id} has no pull request.`);
    },
    stopPullRequest: async () => {
      throw new RunyardError("pull_request_not_found", "There is no such pull request.");
    },
    allowPullRequest: async () => {
      throw new RunyardError("pull_request_not_found", "There is no such pull request.");
    },
    listRuns: async (principal, query) => {
      const before = query.cursor === undefined ? Number.POSITIVE_INFINITY : Number(query.cursor);
      const mine = [...entries.values()].filter(({ orgId, run }) => orgId === principal.orgId && run.number < before).toReversed();
      const data = mine.slice(0, query.limit).map(({ run }) => run);
      const hasMore = mine.length > data.length;
      return { data, has_more: hasMore, next_cursor: hasMore ? String(data.at(-1)?.number) : null };
    },
    cancelRun: async (principal, id) => {
      const entry = find(principal, id);
      if (isTerminal(entry.run.status)) throw new RunyardError("run_ended", `Run ${id} has ended.`);
      append(id, "run.cancelled", { reason: "asked" });
      return entry.run;
    },
    continueRun: async (principal, id, { prompt = "" }) => {
      const entry = find(principal, id);
      if (!isTerminal(entry.run.status)) throw new RunyardError("run_not_ended", `Its turn is not over: run ${id}.`);
      append(id, "message.user", { text: prompt });
      entry.run = { ...entry.run, status: "pending", turn: entry.run.turn + 1, prompt };
      return entry.run;
    },
    replayRun: async (principal, id) => addRun(principal.orgId, { replayOf: find(principal, id).run.id }),
    exchanges: async (principal, id) => {
      find(principal, id);
      return { data: [], elsewhere: [] };
    },
    openShell: async (principal, id) => ({ directory: `/runs/${find(principal, id).run.id}`, driver: "bwrap", egress: [] }),
    workspace: async (principal, id) => {
      find(principal, id);
      return { data: [], truncated: false };
    },
    workspaceFile: async (principal, id) => bytesOf(`<script>alert("${find(principal, id).run.task}")</script>`),
    workspaceArchive: async (principal, id) => ({ ...bytesOf(find(principal, id).run.task), size: null }),
    exchange: async (principal, id, exchangeId) => {
      find(principal, id);
      return blankExchange(exchangeId);
    },
    exchangeBytes: async (principal, id, { id: exchangeId, side }) =>
      Buffer.from(`<script>alert("${find(principal, id).run.task} ${exchangeId} ${side}")</script>`),
    answerPermission: async (principal, id, permissionId) => answer(principal, id, permissionId),
    answerQuestion: async (principal, id, questionId) => answer(principal, id, questionId),
    patch: async (principal, id) => bytesOf(`diff --git a/${find(principal, id).run.task} b/x\n<script>alert(1)</script>\n`),
    bundle: async (principal, id) => {
      throw new RunyardError("no_result", `Run ${find(principal, id).run.id} has changed nothing.`);
    },
    files: async (principal, id) => {
      find(principal, id);
      return { data: [] };
    },
    estimateRun: async () => ({ cost: null, executionTime: null, range: null, basis: "unknown", runs: 0, waitsFor: [] }),
    usage: async (principal, id) => {
      const { executionTime: _, tokensUsed: __, totalCost: ___, pricedCost: costUsd, ...total } = find(principal, id).run.usage;
      return { runId: id, simulated: false, total: { ...total, costUsd }, turns: [], models: [], calls: [] };
    },
    metrics: async (principal, id) => {
      const nothing = { memoryBytes: null, processes: null, threads: null, diskBytes: null };
      return { runId: find(principal, id).run.id, data: [], totals: { cpuMs: null }, peaks: nothing };
    },
    diff: async (principal, id) => ({ baseCommit: find(principal, id).run.baseCommit, headCommit: null, files: [], truncated: false }),
    file: async (principal, id, path) => Buffer.from(`<script>alert("${find(principal, id).run.task} ${path}")</script>`),
    ...createLogSettings(newId),
    ...createLogAgents(() => newId("agent")),
    status: async () => STATUS,
    listModels: async () => ({ data: [], providers: [] }),
    readEvents: async (principal, id, { after, limit }) => {
      const entry = find(principal, id);
      const events = entry.events.slice(after, after + limit);
      reads.count += 1;
      reads.events += events.length;
      return { events, status: entry.run.status };
    },
    readEventPage: async (principal, id, { after, limit, bytes, form }) => {
      const { events, status } = await engine.readEvents(principal, id, { after, limit });
      const frames = events.map(({ seq, json }) => (form === "sse" ? `id: ${seq}\ndata: ${json}\n\n` : `${json}\n`));
      let size = 0;
      const end = frames.findIndex((frame, at) => (size += Buffer.byteLength(frame)) > bytes && at > 0);
      const count = end === -1 ? frames.length : end;
      const more = count < events.length || events.length >= limit;
      return { text: frames.slice(0, count).join(""), count, last: events[count - 1]?.seq ?? null, more, status };
    },
    subscribe: (runId, wake) => {
      const set = wakes.get(runId) ?? new Set();
      wakes.set(runId, set.add(wake));
      return () => void set.delete(wake);
    },
  };
  return engine;
}

const STATUS: ServerStatus = {
  version: "1.2.3",
  startedAt: "2026-11-20T10:00:00.000Z",
  draining: false,
  simulated: false,
  model: { connected: false, name: null, host: null, providers: [] },
  sandbox: {
    driver: "bwrap",
    available: true,
    reason: null,
    isolation: { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" },
    limits: { memory: true, cpus: true, pids: true },
  },
  runs: { running: 0, waiting: 0, awaitingPlan: 0, awaitingChecks: 0, queued: 0, limit: 10 },
  agents: [],
  database: "embedded",
  role: "all",
  runners: [],
};

/** A run id in the contract's form. */
export function newRunId(): string {
  return newId("run");
}

function newId(kind: "run" | "repo" | "agent" | "secret" | "credential"): string {
  const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  return `${kind}_0${[...randomBytes(25)].map((byte) => alphabet[byte % 32]).join("")}`;
}

function blankRun(number: number): Run {
  const id = newRunId();
  return {
    id,
    number,
    sandboxId: id.replace(/^run_/, "sandbox_"),
    status: "pending",
    phase: "queued",
    queuePosition: number,
    queueReason: "order",
    turn: 1,
    attempt: 0,
    task: "do it",
    prompt: "do it",
    repositoryUrl: "/tmp/repository",
    branch: "main",
    repositories: [],
    baseCommit: "0".repeat(40),
    agent: { name: null, profile: "builtin", command: null },
    instructions: null,
    context: null,
    files: [],
    mcpServers: [],
    environment: {},
    secrets: [],
    setup: null,
    model: null,
    simulated: false,
    replayOf: null,
    replay: null,
    permissionPolicy: { ask: [], deny: [] },
    settings: {
      timeout: 3_600_000,
      agentWait: 600_000,
      sandboxDriver: "bwrap",
      image: null,
      permissions: [...RUN_PERMISSIONS],
      isolationFloor: "sandbox",
      egress: [],
      egressFrom: {},
      sandboxType: "standard",
      maxRetries: 0,
      retryStrategy: "exponential-backoff",
      retryableErrors: [],
      recovery: { timeout: null, outOfMemory: null },
      strictPlan: false,
      planTimeout: null,
      onPlanTimeout: "reject",
      approvalAboveUsd: null,
    },
    planFirst: false,
    plan: null,
    failedAttempts: [],
    retryAt: null,
    inForce: { timeout: 3_600_000, sandboxType: "standard" },
    verify: [],
    verifyRetries: 1,
    verifyResults: [],
    sandbox: null,
    egressDenied: [],
    progress: { percentage: null, currentStep: "queued" },
    publish: "branch",
    publishFrom: {},
    givenFrom: {},
    pullRequest: null,
    pullRequestUrl: null,
    githubPullRequests: [],
    pullRequestStop: null,
    review: null,
    checks: null,
    responseType: null,
    result: null,
    error: null,
    usage: {
      inputTokens: null,
      outputTokens: null,
      cachedInputTokens: null,
      cacheWriteTokens: null,
      reasoningTokens: null,
      tokensUsed: null,
      modelCalls: 0,
      failedModelCalls: 0,
      totalCost: null,
      pricedCost: null,
      unpricedCalls: 0,
      executionTime: 0,
    },
    budget: null,
    credential: "gateway",
    waitingFor: [],
    cancelRequested: false,
    lastSeq: 0,
    createdAt: "2026-11-20T10:00:00.000Z",
    startedAt: null,
    finishedAt: null,
    updatedAt: "2026-11-20T10:00:00.000Z",
  };
}

function blankExchange(id: string): ExchangeDetail {
  const body = { state: "whole", bytes: 2, json: {}, text: null, truncated: false } as const;
  return {
    id,
    number: 1,
    at: "2026-11-20T10:00:00.000Z",
    turn: 1,
    attempt: 1,
    provider: "openai",
    model: "m",
    path: "/v1/chat/completions",
    status: 200,
    ok: true,
    complete: true,
    tries: 1,
    inputTokens: null,
    outputTokens: null,
    cachedInputTokens: null,
    cacheWriteTokens: null,
    reasoningTokens: null,
    costUsd: null,
    durationMs: 1,
    error: null,
    replays: null,
    headers: null,
    request: body,
    response: body,
  };
}

/** They wait for no approval. */
function noApproval(run: Run): never {
  throw new RunyardError("approval_not_open", `Run ${run.id} waits for no approval.`);
}

/** Runs of this engine make no plans. */
function noPlan(run: Run): never {
  throw new RunyardError("plan_not_open", `No plan of run ${run.id} waits for a decision.`);
}
