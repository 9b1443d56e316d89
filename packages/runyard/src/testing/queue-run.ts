import type { Budget } from "@runyard/sdk/contract";
import { NO_USAGE } from "../core/usage.ts";
import type { Database } from "../store/database.ts";
import { ensureAdministrator } from "../store/identities.ts";
import type { RunRow } from "../store/run-row.ts";
import { insertRun, type NewRun } from "../store/runs.ts";

/** An organization with a person and a token, by an id that only this test uses. */
export async function makeOrganization(db: Database, orgId: string): Promise<void> {
  const user = { userId: `user_${orgId}`, userName: "x" };
  await ensureAdministrator(db, { orgId, orgName: orgId, ...user, tokenId: `token_${orgId}`, tokenHash: Buffer.from(orgId), scopes: [] });
}

/** A queued run of an organization that `makeOrganization` made. */
export async function queueRun(
  db: Database,
  run: { readonly orgId: string; readonly id: string; readonly budget?: Budget | undefined } & Partial<NewRun>,
): Promise<RunRow> {
  const { orgId, id, budget, ...more } = run;
  return insertRun(db, {
    id,
    orgId,
    userId: `user_${orgId}`,
    repositoryId: `repo_${id}`,
    task: "A task",
    repositoryUrl: "/repository",
    branch: "main",
    baseCommit: "a".repeat(40),
    spec: {
      agent: { profile: "builtin", command: null },
      model: null,
      permissionPolicy: { ask: [], deny: [] },
      timeoutMs: 60_000,
      sandboxDriver: "process",
      ...(budget !== undefined && { budget }),
    },
    simulated: false,
    usage: NO_USAGE,
    status: "pending",
    error: null,
    events: [{ type: "log", data: { text: "created" } }],
    ...more,
  });
}
