import { type Limits, type MachineType, SANDBOX_TYPES, type SandboxType } from "@runyard/sdk/contract";

const GIB = 1024 ** 3;
const PIDS = 1024;

/** What a sandbox of each type is given (seed 001). */
export const SANDBOX_LIMITS = {
  standard: { memoryBytes: 2 * GIB, cpus: 2, pids: PIDS, diskBytes: 10 * GIB },
  "high-memory": { memoryBytes: 16 * GIB, cpus: 4, pids: PIDS, diskBytes: 20 * GIB },
  "high-cpu": { memoryBytes: 4 * GIB, cpus: 8, pids: PIDS, diskBytes: 10 * GIB },
  gpu: { memoryBytes: 8 * GIB, cpus: 4, pids: PIDS, diskBytes: 20 * GIB },
} as const satisfies Readonly<Record<SandboxType, Limits>>;

/** The type that a machine type stands for. */
export const MACHINE = { small: "standard", medium: "high-cpu", large: "high-memory" } as const satisfies Readonly<
  Record<MachineType, SandboxType>
>;

/**
 * Why a machine with this much memory for runs cannot grant a sandbox of a type, or null. Processors are a share
 * and are clamped; `standard` is never refused, because every machine must be able to run something.
 */
export function whyNotGranted(type: SandboxType, hostMemoryBytes: number): string | null {
  const fits = (other: SandboxType): boolean => other === "standard" || (other !== "gpu" && memoryOf(other) <= hostMemoryBytes);
  if (fits(type)) return null;
  const possible = `Possible here: ${SANDBOX_TYPES.filter(fits).join(", ")}.`;
  if (type === "gpu")
    return `A sandbox of the type gpu has a graphics processor (NVIDIA T4), and no sandbox can be given one yet. ${possible}`;
  return `A sandbox of the type ${type} has ${gigabytes(memoryOf(type))} GB of memory, and this machine has ${gigabytes(hostMemoryBytes)} GB for runs. ${possible}`;
}

function memoryOf(type: SandboxType): number {
  return SANDBOX_LIMITS[type].memoryBytes;
}

function gigabytes(bytes: number): string {
  return String(Math.floor((bytes / GIB) * 10) / 10);
}
