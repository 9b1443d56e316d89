import type { RunnerView, SandboxDriverName, ServerStatus } from "@runyard/sdk/contract";
import type { Database } from "../store/database.ts";
import { countRuns } from "../store/run-counts.ts";
import { allRunners, countRunsByRunner } from "../store/runners.ts";
import type { Principal } from "./identity.ts";
import type { AskModels } from "./models.ts";
import type { ReadinessSources } from "./readiness.ts";

/** What does not change while the server lives, and how to look at what does; main wires it. */
export interface StatusSources {
  readonly version: string;
  readonly startedAt: string;
  readonly database: ServerStatus["database"];
  readonly role: ServerStatus["role"];
  /** Who answers model calls, whoever has the default model first. */
  readonly providers: () => ServerStatus["model"]["providers"];
  readonly models: AskModels;
  readonly probeLimits: () => ServerStatus["sandbox"]["limits"];
  readonly probeAgents: () => Promise<ServerStatus["agents"]>;
}

interface StatusOptions {
  readonly db: Database;
  readonly now: () => number;
  readonly model: () => { readonly connected: boolean; readonly simulated: boolean; readonly model: string | null };
  readonly defaultDriver: SandboxDriverName;
  readonly probeSandbox: (driver: SandboxDriverName) => Promise<Pick<ServerStatus["sandbox"], "available" | "reason" | "isolation">>;
  readonly status: StatusSources;
  readonly readiness: Pick<ReadinessSources, "isDraining">;
}

/** Looking for agents and limits touches many files: what was found is good for so long. */
const PROBE_MS = 30_000;

/** Gives how the server stands, and how many runs the asker's organization has. */
export function createStatus(options: StatusOptions): (principal: Principal) => Promise<ServerStatus> {
  const { status: sources } = options;
  const agents = keptFor(PROBE_MS, options.now, sources.probeAgents);
  const limits = keptFor(PROBE_MS, options.now, async () => sources.probeLimits());

  return async (principal) => {
    const model = options.model();
    const providers = sources.providers();
    const { available, reason, isolation } = await options.probeSandbox(options.defaultDriver);
    return {
      version: sources.version,
      startedAt: sources.startedAt,
      draining: options.readiness.isDraining(),
      simulated: model.simulated,
      model: { connected: model.connected, name: model.model, host: hostOf(model.model, providers), providers },
      sandbox: { driver: options.defaultDriver, available, reason, isolation, limits: await limits() },
      runs: await countRuns(options.db, principal.orgId),
      agents: await agents(),
      database: sources.database,
      role: sources.role,
      runners: await showRunners(options.db, principal.orgId),
    };
  };
}

/** Where the default model is asked. */
function hostOf(model: string | null, providers: ServerStatus["model"]["providers"]): string | null {
  return (providers.find(({ name }) => model?.startsWith(`${name}/`)) ?? providers[0])?.host ?? null;
}

async function showRunners(db: Database, orgId: string): Promise<RunnerView[]> {
  const [rows, runs] = await Promise.all([allRunners(db), countRunsByRunner(db, orgId)]);
  return rows.map((row) => ({
    id: row.id,
    state: row.lost_at === null ? "alive" : "lost",
    runs: runs.get(row.id) ?? 0,
    lastSeen: row.seen_at,
  }));
}

/** Asks once for all who ask within `ms`; a failure is not kept. */
export function keptFor<T>(ms: number, now: () => number, ask: () => Promise<T>): () => Promise<T> {
  let kept: { readonly at: number; readonly answer: Promise<T> } | undefined;
  return () => {
    if (kept !== undefined && now() - kept.at < ms && now() >= kept.at) return kept.answer;
    const mine = { at: now(), answer: ask() };
    kept = mine;
    mine.answer.catch(() => {
      if (kept === mine) kept = undefined;
    });
    return mine.answer;
  };
}
