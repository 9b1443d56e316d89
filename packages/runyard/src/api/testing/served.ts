import { createHash, randomBytes } from "node:crypto";
import { RunyardClient } from "@runyard/sdk";
import { type NewEvent, type RunResult, type Scope, SCOPES } from "@runyard/sdk/contract";
import { type NewRequest, permissionAnswer, questionAnswer } from "../../agents/acp/conversation.ts";
import { createEngine, type EngineOptions, type AgentNeeds } from "../../engine/engine.ts";
import { authenticate } from "../../engine/identity.ts";
import { createLogins } from "../../engine/logins.ts";
import { createWakes, type Wakes } from "../../engine/wakes.ts";
import type { Database } from "../../store/database.ts";
import { ensureAdministrator } from "../../store/identities.ts";
import type { RunRow } from "../../store/run-row.ts";
import { carryPlanned } from "../../runner/carry-over.ts";
import { claimRun, commitStep } from "../../store/runs.ts";
import { createVault } from "../../store/vault.ts";
import { createTestDatabase, type TestDatabase } from "../../testing/database.ts";
import { createApi } from "../api.ts";
import type { ApiLogEntry } from "../context.ts";
import type { Listening } from "../listen.ts";
import { bytesOf } from "./bytes-of.ts";

interface Answer {
  readonly status: number;
  readonly allow: string | null;
  /** Empty where nothing was said. */
  readonly text: string;
  /** The same as an object; empty where there is none. */
  readonly body: Record<string, unknown>;
}

/** The door over the real engine and a real PostgreSQL: the API as it is served, but for what runs agents. */
export interface Served {
  readonly database: TestDatabase;
  readonly door: Listening;
  readonly log: ApiLogEntry[];
  /** With the token `token-a` of `org_a`; `token-b` is that of `org_b`. */
  readonly client: RunyardClient;
  /** A request at a path below `/v1`, with `token-a` where nothing else is said; a body that is a text goes as it is. */
  ask(method: string, path: string, options?: { readonly token?: string; readonly body?: unknown }): Promise<Answer>;
  addToken(name: string, token: { readonly orgId: string; readonly scopes: readonly Scope[] }): Promise<void>;
  /** Claims this very run as a runner does; others that are queued are ended. */
  claim(runId: string): Promise<RunRow>;
  /** Commits events as a runner does, and wakes the readers. */
  say(run: RunRow, events: readonly NewEvent[]): Promise<void>;
  /** Ends a run as a runner does, with its last event. */
  complete(run: RunRow, result?: Partial<RunResult>): Promise<void>;
  close(): Promise<void>;
}

interface ServeOptions extends Partial<EngineOptions> {
  /** Names under which it is asked, beside its own. */
  readonly allowedHosts?: () => readonly string[];
  readonly recheckMs?: number;
  readonly heartbeatMs?: number;
}

/** A door over the real engine on a database that exists; nothing runs agents. */
export async function openServedDoor(
  db: Database,
  { allowedHosts = () => [], recheckMs = 50, heartbeatMs = 15_000, ...options }: ServeOptions = {},
): Promise<{ readonly door: Listening; readonly log: ApiLogEntry[]; readonly wakes: Wakes }> {
  const wakes = createWakes();
  const log: ApiLogEntry[] = [];
  const engine = createEngine({ ...DEFAULTS, ...foundBy(options.inspectRepository ?? DEFAULTS.inspectRepository), db, wakes, ...options });
  const api = createApi({
    engine,
    authenticate: (bearer) => authenticate(db, bearer),
    logins: createLogins(db),
    allowedHosts,
    log: (entry) => void log.push(entry),
    version: "1.2.3",
    timings: { recheckMs, heartbeatMs },
  });
  return { door: await api.listen({ host: "127.0.0.1", port: 0 }), log, wakes };
}

export async function serve(options: ServeOptions = {}): Promise<Served> {
  const database = await createTestDatabase();
  const { db } = database;
  const addToken: Served["addToken"] = (name, { orgId, scopes }) => {
    const tokenHash = createHash("sha256").update(name).digest();
    const user = { userId: `user_${orgId}`, userName: orgId };
    return ensureAdministrator(db, { orgId, orgName: orgId, ...user, tokenId: `tok_${name}`, tokenHash, scopes });
  };
  for (const name of ["a", "b"]) await addToken(`token-${name}`, { orgId: `org_${name}`, scopes: SCOPES });
  const { door, log, wakes } = await openServedDoor(db, options);

  const claim: Served["claim"] = async (runId) => {
    for (;;) {
      const events: NewEvent[] = [{ type: "run.started", data: { runnerId: "runner" } }];
      const run = await claimRun(db, { owner: "owner", runnerId: "runner", events });
      if (run === undefined) throw new Error("nothing to claim");
      if (run.id === runId) return run;
      await commitStep(db, { run, change: { status: "failed" } });
    }
  };
  const commit = async (step: Parameters<typeof commitStep>[1]): Promise<void> => {
    if ((await commitStep(db, step)) === undefined) throw new Error("the step was fenced");
    wakes.notify(step.run.id);
  };
  return {
    database,
    door,
    log,
    client: new RunyardClient({ baseUrl: door.url, token: "token-a" }),
    async ask(method, path, { token = "token-a", body } = {}) {
      const response = await fetch(`${door.url}/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
        ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      const answer = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
      return { status: response.status, allow: response.headers.get("allow"), text, body: answer };
    },
    addToken,
    claim,
    say: (run, events) => commit({ run, events }),
    complete: (run, change = {}) => {
      const result: RunResult = { ...NO_CHANGE, ...change };
      return commit({ run, events: [{ type: "run.completed", data: { result } }], change: { status: "completed", result } });
    },
    async close() {
      await door.close();
      await database.drop();
    },
  };
}

const ISOLATION = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
const NO_ISOLATION = { filesystem: "none", network: "none", processes: "none", syscalls: "none" } as const;
const NO_CHANGE: RunResult = {
  summary: "done",
  headBranch: null,
  headCommit: null,
  baseCommit: "a".repeat(40),
  filesChanged: 0,
  insertions: 0,
  deletions: 0,
};

/** One agent without a login of its own, and one that may have one. */
const PROFILES: Readonly<Record<string, AgentNeeds>> = {
  builtin: { apis: ["openai"], picksModel: false, ownLogin: "It has none." },
  codex: { apis: ["openai"], picksModel: false, ownLogin: {} },
};

const PULL_REQUEST = {
  id: 1,
  number: 7,
  url: "https://github.com/acme/app/pull/7",
  title: "A title",
  merged: false,
  headBranchName: "runyard/x",
  baseBranchName: "main",
  createdAt: "2026-01-01T00:00:00.000Z",
};

/** As git finds repositories that are looked at like this. */
function foundBy(inspect: EngineOptions["inspectRepository"]): Pick<EngineOptions, "findRepository"> {
  return {
    findRepository: async (url, branch, orgId) => {
      const first = await inspect(url, branch, orgId);
      const isEnough = (byDefault?: string): boolean => branch !== undefined || byDefault === undefined;
      return { root: first.root, inspect: async (byDefault) => (isEnough(byDefault) ? first : inspect(url, byDefault, orgId)) };
    },
  };
}

/** What the engine is told of the rooms that it does not import. */
const DEFAULTS: Omit<EngineOptions, "db" | "wakes" | "findRepository"> = {
  vault: createVault(randomBytes(32)),
  now: Date.now,
  describeAgent: (profile) => PROFILES[profile],
  whyNoLogin: () => null,
  agentNames: () => ["builtin", "custom"],
  inspectRepository: async (url, branch) => ({ root: url, branch: branch ?? "main", commit: "a".repeat(40), notices: [] }),
  repositoryHosts: [],
  githubHosts: [],
  appToken: async () => "decoy of a token of an app",
  editPullRequest: async ({ number }, { state = "open", draft = false }) => ({ ...PULL_REQUEST, number, state, draft }),
  readPullRequest: async ({ number }) => ({
    url: `https://github.com/acme/app/pull/${number}`,
    number,
    title: "A title",
    body: "",
    baseBranch: "main",
    baseCommit: "b".repeat(40),
    headCommit: "c".repeat(40),
    fork: false,
    filesChanged: 0,
    insertions: 0,
    deletions: 0,
    files: [],
  }),
  missingFiles: async () => [],
  model: () => ({ connected: true, simulated: false, model: "some-model" }),
  isPriced: async () => null,
  costOf: async () => null,
  defaultDriver: "process",
  dockerImage: null,
  probeSandbox: async (driver) => ({ available: true, reason: null, isolation: driver === "bwrap" ? ISOLATION : NO_ISOLATION }),
  hostMemoryBytes: () => 8 * 1024 ** 3,
  answers: {
    permission: (request, decision, person) => permissionAnswer(request as NewRequest, decision, person),
    question: (request, answer) => questionAnswer(request as NewRequest, answer),
  },
  changes: {
    patch: async ({ base, head }) => bytesOf(`${base}..${head}`),
    files: async () => [],
    diff: async () => ({ files: [], truncated: false }),
    file: async () => null,
    bundle: async () => ({ tooLarge: 0 }),
  },
  workspaces: () => null,
  recordings: null,
  carryOver: () => ({ attempts: [], head: null, published: null, sessionId: null, prompt: "before", lastWords: null }),
  carryPlanned,
  status: {
    version: "1.2.3",
    startedAt: "2026-11-20T10:00:00.000Z",
    database: "external",
    role: "all",
    providers: () => [{ name: "openai", api: "openai", host: "127.0.0.1:11434" }],
    models: () =>
      Promise.resolve([
        {
          provider: "openai",
          models: [
            {
              id: "gpt-x",
              name: "GPT X",
              contextTokens: 128_000,
              inputUsdPerMillion: 1.25,
              outputUsdPerMillion: 10,
              cachedInputUsdPerMillion: null,
            },
          ],
          problem: null,
        },
      ]),
    probeLimits: () => ({ memory: true, cpus: false, pids: true }),
    probeAgents: async () => [
      { name: "builtin", installed: true, version: null, reason: null, install: null, credential: null, login: null },
    ],
  },
  readiness: { freeBytes: () => 2 ** 40, askGateway: async () => "there", isDraining: () => false },
};
