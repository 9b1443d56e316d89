import { z } from "zod";

/**
 * What a run's sandbox must keep, or the run is refused, the weakest first. `none`: nothing. `sandbox`: files and network are
 * held by the kernel. `strict`: these, other processes and calls to the kernel too, and memory, processors and processes are
 * limited.
 */
export const ISOLATION_FLOORS = ["none", "sandbox", "strict"] as const;
export const isolationFloorSchema = z.enum(ISOLATION_FLOORS);
export type IsolationFloor = z.infer<typeof isolationFloorSchema>;
