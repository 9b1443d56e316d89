import { LEAST_MEMORY_BYTES, type MemoryRoom, MOST_OVERTAKEN } from "../core/memory.ts";
import type { Database, Tx } from "./database.ts";
import type { RunRow } from "./run-row.ts";

/** How the memory of a runner stands, by its name. */
export interface RunnerRoom extends MemoryRoom {
  readonly runnerId: string;
}

interface RoomRow {
  readonly runner_id: string;
  readonly budget_bytes: number;
  readonly held_bytes: number;
  readonly waiting_id: string | null;
  readonly waiting_bytes: number | null;
  readonly waiting_overtaken: number | null;
}

const MEMORY_ROOMS = "select * from runyard.memory_rooms($1, $2, $3, $4)";

/** How the memory of a runner stands whose sandboxes may have so much together. */
export async function readRoom(db: Database, runner: { readonly runnerId: string; readonly budgetBytes: number }): Promise<MemoryRoom> {
  const rows = await db.query<RoomRow>(MEMORY_ROOMS, [runner.runnerId, runner.budgetBytes, LEAST_MEMORY_BYTES, MOST_OVERTAKEN]);
  if (rows[0] === undefined) throw new Error(`Nothing is known of the memory of ${runner.runnerId}`);
  return roomOf(rows[0]);
}

/** How that of all runners stands who live. Those of earlier versions do not tell, and are not there. */
export async function readRooms(tx: Pick<Tx, "query">): Promise<RunnerRoom[]> {
  return (await tx.query<RoomRow>(MEMORY_ROOMS, [null, null, LEAST_MEMORY_BYTES, MOST_OVERTAKEN])).map(roomOf);
}

function roomOf(row: RoomRow): RunnerRoom {
  const { waiting_id: id, waiting_bytes: memoryBytes, waiting_overtaken: overtaken } = row;
  return {
    runnerId: row.runner_id,
    budgetBytes: row.budget_bytes,
    heldBytes: row.held_bytes,
    waiting: id === null || memoryBytes === null || overtaken === null ? null : { id, memoryBytes, overtaken },
  };
}

/** Notes the memory of the larger sandbox that a turn is to be given, before it is: what its runner has in hand is then never more than is counted. */
export async function holdMemory(
  db: Database,
  run: Pick<RunRow, "id" | "org_id" | "owner" | "attempt">,
  memoryBytes: number,
): Promise<void> {
  await db.queryInOrganization(
    run.org_id,
    "update runyard.runs set recovery_bytes = $4 where id = $1 and owner = $2 and attempt = $3 and status in ('running', 'awaiting_input')",
    [run.id, run.owner, run.attempt, memoryBytes],
  );
}
