import type { Limits } from "@runyard/sdk/contract";

const GIB = 1024 ** 3;

/** The sandbox class `standard`: 2 GB of memory, 2 processors, 10 GB of disk (seed 001). */
export const STANDARD_LIMITS: Limits = { memoryBytes: 2 * GIB, cpus: 2, pids: 1024, diskBytes: 10 * GIB };
