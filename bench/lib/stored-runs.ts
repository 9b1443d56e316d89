import { randomBytes } from "node:crypto";
import type { NewEvent } from "@runyard/sdk/contract";
import { NO_USAGE } from "../../packages/runyard/src/core/usage.ts";
import { newId } from "../../packages/runyard/src/engine/ids.ts";
import type { Database } from "../../packages/runyard/src/store/database.ts";
import { insertRun, type NewRun } from "../../packages/runyard/src/store/runs.ts";
import { ORG } from "./home.ts";

const USER = "user_admin";
const FAILED = { type: "agent-error", message: "Stored by a bench" } as const;

/** A run as the engine makes it, with the events that are given. */
export function newRun(options: { repository: string; status: NewRun["status"]; events: readonly NewEvent[] }): NewRun {
  const { repository, status, events } = options;
  return {
    id: newId("run"),
    orgId: ORG,
    userId: USER,
    repositoryId: newId("repo"),
    task: "Say ok",
    repositoryUrl: repository,
    branch: "main",
    baseCommit: randomBytes(20).toString("hex"),
    spec: {
      agent: { profile: "custom", command: ["/bin/sh", "agent.sh"] },
      model: null,
      permissionPolicy: { ask: [], deny: [] },
      timeoutMs: 3_600_000,
      sandboxDriver: "bwrap",
    },
    simulated: false,
    usage: NO_USAGE,
    status,
    error: status === "failed" ? FAILED : null,
    events,
  };
}

/** Stores runs that have ended, each with a few events. */
export async function storeEndedRuns(db: Database, options: { count: number; repository: string }): Promise<void> {
  const events: NewEvent[] = [
    { type: "message.user", data: { text: "Say ok" } },
    { type: "run.failed", data: { error: FAILED } },
  ];
  let left = options.count;
  const store = async (): Promise<void> => {
    while (left-- > 0) await insertRun(db, newRun({ repository: options.repository, status: "failed", events }));
  };
  await Promise.all(Array.from({ length: 8 }, store));
}
