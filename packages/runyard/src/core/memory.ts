import { SANDBOX_LIMITS } from "./limits.ts";

const GIB = 1024 ** 3;
/** Of the smallest sandbox, which every machine must be able to run. */
export const LEAST_MEMORY_BYTES = SANDBOX_LIMITS.standard.memoryBytes;

/** How the memory of a runner stands. */
export interface MemoryRoom {
  /** What the sandboxes of its runs may have together. */
  readonly budgetBytes: number;
  /** What those have that it has in hand. */
  readonly heldBytes: number;
  /** The oldest queued run that waits for its memory, or one before it that is due; null: none, or nothing was left to look for. */
  readonly waiting: QueuedMemory | null;
}

export interface QueuedMemory {
  readonly id: string;
  readonly memoryBytes: number;
  /** How many younger runs went past it because it did not fit. */
  readonly overtaken: number;
}

/** What a runner may take up now. */
export interface Admission {
  /** Most memory of its sandbox. */
  readonly roomBytes: number;
  /** A run that may be taken up beside that: what the others leave was kept for it. */
  readonly first: string | null;
  /** The run that any other goes past. */
  readonly passed: string | null;
}

/** How many younger runs go past one that does not fit; then memory is kept free for it. */
export const MOST_OVERTAKEN = 10;

/** What sandboxes may have together where nobody says it: a tenth, and at least one GB, is for the rest of the machine. */
export function defaultMemoryBudget(hostMemoryBytes: number): number {
  return Math.max(LEAST_MEMORY_BYTES, Math.floor(hostMemoryBytes - Math.max(GIB, hostMemoryBytes / 10)));
}

/**
 * What a runner may take up beside what it has in hand. Smaller runs go past one that does not fit, so that nothing
 * stands still; after ten of them it is due: then only what it leaves of the memory is given away, until it fits. It can
 * be overtaken no further, and whatever it waits for then ends by its own time limit.
 */
export function admit({ budgetBytes, heldBytes, waiting }: MemoryRoom): Admission {
  // The smallest sandbox alone always fits.
  const free = heldBytes === 0 ? Math.max(budgetBytes, LEAST_MEMORY_BYTES) : Math.max(0, budgetBytes - heldBytes);
  if (waiting === null) return { roomBytes: free, first: null, passed: null };
  if (waiting.overtaken < MOST_OVERTAKEN) return { roomBytes: free, first: null, passed: waiting.id };
  const fits = waiting.memoryBytes <= free;
  return { roomBytes: Math.max(0, free - waiting.memoryBytes), first: fits ? waiting.id : null, passed: null };
}

/** Whether anything could be taken up. */
export function mayTakeAny({ roomBytes, first }: Admission): boolean {
  return first !== null || roomBytes >= LEAST_MEMORY_BYTES;
}

/** Whether a queued run waits for memory: there are runners, and none of them could take it up now. */
export function waitsForMemory(run: { readonly id: string | null; readonly memoryBytes: number }, rooms: readonly MemoryRoom[]): boolean {
  return (
    rooms.length > 0 &&
    rooms.map(admit).every(({ roomBytes, first }) => run.memoryBytes > roomBytes && (first === null || first !== run.id))
  );
}
