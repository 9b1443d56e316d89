import { type SavedAgent, withoutSecrets } from "@runyard/sdk/contract";
import pg from "pg";
import type { AgentDefinition } from "../core/saved-agent.ts";
import { usd, usdOrNull } from "../core/usage.ts";
import type { Database } from "./database.ts";

/** A row of `agents`, as PostgreSQL gives it. */
export interface SavedAgentRow {
  readonly id: string;
  readonly num: number;
  readonly name: string;
  readonly definition: AgentDefinition;
  /** Nano US dollars; null: no cap. */
  readonly daily_cap_nano: number | null;
  readonly spent_today_nano: number;
  readonly created_at: string;
  readonly updated_at: string;
}

const SHOWN = "a.*, runyard.agent_spent_today_nano(a.org_id, a.id) as spent_today_nano";

/** Saved agents of an organization, the newest first. */
export async function listSavedAgents(
  db: Database,
  page: { readonly orgId: string; readonly before: number | null; readonly limit: number },
): Promise<SavedAgentRow[]> {
  return db.queryInOrganization(
    page.orgId,
    `select ${SHOWN} from runyard.agents a
       where a.org_id = runyard.current_org() and ($1::bigint is null or a.num < $1) order by a.num desc limit $2`,
    [page.before, page.limit],
  );
}

/** The saved agent of this id or name, or undefined; that of another organization is not there. */
export async function findSavedAgent(db: Database, orgId: string, idOrName: string): Promise<SavedAgentRow | undefined> {
  const rows = await db.queryInOrganization<SavedAgentRow>(orgId, SELECT_ONE, [idOrName]);
  return rows[0];
}

// No id is a name.
const SELECT_ONE = `select ${SHOWN} from runyard.agents a where a.org_id = runyard.current_org() and (a.id = $1 or a.name = $1)`;

const UNIQUE_VIOLATION = "23505";

interface NewAgent {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly definition: AgentDefinition;
  readonly dailyCapNano: number | null;
}

/** Saves an agent; undefined: another one has its name. */
export async function insertSavedAgent(db: Database, agent: NewAgent): Promise<SavedAgentRow | undefined> {
  const rows = await db.queryInOrganization<SavedAgentRow>(
    agent.orgId,
    `insert into runyard.agents as a (id, org_id, name, definition, daily_cap_nano) values ($1, $2, $3, $4, $5)
     on conflict (org_id, name) do nothing returning ${SHOWN}`,
    [agent.id, agent.orgId, agent.name, JSON.stringify(agent.definition), agent.dailyCapNano],
  );
  return rows[0];
}

/** What `change` makes of the agent, which nobody else changes meanwhile; what it throws leaves it as it was. */
export async function changeSavedAgent(
  db: Database,
  agent: { readonly orgId: string; readonly idOrName: string },
  change: (before: SavedAgentRow) => Pick<SavedAgentRow, "name" | "definition" | "daily_cap_nano">,
): Promise<SavedAgentRow | "missing" | "taken"> {
  const changed = db.inOrganization(agent.orgId, async (tx) => {
    const [before] = await tx.query<SavedAgentRow>(`${SELECT_ONE} for update`, [agent.idOrName]);
    if (before === undefined) return "missing";
    const { name, definition, daily_cap_nano: cap } = change(before);
    const [after] = await tx.query<SavedAgentRow>(
      `update runyard.agents a set name = $2, definition = $3, daily_cap_nano = $4, updated_at = now()
         where a.id = $1 and a.org_id = runyard.current_org() returning ${SHOWN}`,
      [before.id, name, JSON.stringify(definition), cap],
    );
    return after ?? "missing";
  });
  return changed.catch((error: unknown) => {
    if (error instanceof pg.DatabaseError && error.code === UNIQUE_VIOLATION) return "taken";
    throw error;
  });
}

/** False where there is no such agent. Runs that were given it are left as they are. */
export async function deleteSavedAgent(db: Database, orgId: string, idOrName: string): Promise<boolean> {
  const rows = await db.queryInOrganization(
    orgId,
    "delete from runyard.agents a where a.org_id = runyard.current_org() and (a.id = $1 or a.name = $1) returning a.id",
    [idOrName],
  );
  return rows.length > 0;
}

/** The names of an organization's saved agents, in order, at most so many. */
export async function savedAgentNames(db: Database, orgId: string, limit: number): Promise<string[]> {
  const rows = await db.queryInOrganization<{ name: string }>(
    orgId,
    "select a.name from runyard.agents a where a.org_id = runyard.current_org() order by a.name limit $1",
    [limit],
  );
  return rows.map((row) => row.name);
}

/** The agent as the API shows it. */
export function toSavedAgent(row: SavedAgentRow): SavedAgent {
  const { mcpServers, environment = {}, secrets = [], ...definition } = row.definition;
  return {
    id: row.id,
    name: row.name,
    ...definition,
    login: definition.login ?? "gateway",
    mcpServers: mcpServers.map(withoutSecrets),
    environment,
    secrets: [...secrets],
    dailyCapUsd: usdOrNull(row.daily_cap_nano),
    spentTodayUsd: usd(row.spent_today_nano),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
