import { type Isolation, ISOLATION_FLOORS, type IsolationFloor, type Limits, type SandboxDriverName } from "@runyard/sdk/contract";

/** Which limits of a sandbox are enforced. */
export interface KeptLimits {
  readonly memory: boolean;
  readonly cpus: boolean;
  readonly pids: boolean;
}

/** What a sandbox keeps, or a machine could. */
export interface Kept {
  readonly isolation: Isolation;
  readonly limits: KeptLimits;
}

/** Who said which floor a run has; `default`: nobody. */
export type FloorSource = "organization" | "agent" | "run" | "default";

export interface FloorInForce {
  readonly floor: IsolationFloor;
  readonly from: FloorSource;
}

/** What there is to be kept, in words. */
const WORDS = {
  filesystem: "isolated files",
  network: "an isolated network",
  processes: "isolated processes",
  syscalls: "filtered system calls",
  memory: "limited memory",
  cpus: "limited processors",
  pids: "a limited number of processes",
} as const;
type Property = keyof typeof WORDS;

/** The disk is not among them: no driver can limit it everywhere, so that no machine could be strict. */
const REQUIRED: Readonly<Record<IsolationFloor, readonly Property[]>> = {
  none: [],
  sandbox: ["filesystem", "network"],
  strict: ["filesystem", "network", "processes", "syscalls", "memory", "cpus", "pids"],
};

/** What to do where the kernel takes no filter of system calls. */
export const FILTER_ADVICE = "Use a kernel with CONFIG_SECCOMP_FILTER on x86-64 or arm64.";
/** What to do where control groups cannot be written. */
export const LIMITS_ADVICE = "Start the server in a control group of its own: systemd-run --user --scope -p Delegate=yes runyard up";
const DRIVER_ADVICE = "Use the sandbox driver bwrap; `runyard doctor` says what it needs.";

const rank = (floor: IsolationFloor): number => ISOLATION_FLOORS.indexOf(floor);

/**
 * The floor that holds for a run: the highest that anybody says, so that nobody can lower that of somebody else. Where the
 * organization says nothing it is `sandbox`, but for a driver without isolation, which somebody chose by its name.
 */
export function floorInForce(
  said: Readonly<Partial<Record<Exclude<FloorSource, "default">, IsolationFloor | null | undefined>>>,
  driver: SandboxDriverName,
): FloorInForce {
  const { organization } = said;
  const first: FloorInForce = organization
    ? { floor: organization, from: "organization" }
    : { floor: driver === "process" ? "none" : "sandbox", from: "default" };
  return (["agent", "run"] as const).reduce((highest, from) => {
    const floor = said[from] ?? "none";
    return rank(floor) > rank(highest.floor) ? { floor, from } : highest;
  }, first);
}

/** What a floor wants and is not kept, in words. */
export function missingOf(floor: IsolationFloor, kept: Kept): string[] {
  return unkept(floor, kept).map((property) => WORDS[property]);
}

/** The floors that are kept, the weakest first. */
export function floorsKept(kept: Kept): IsolationFloor[] {
  return ISOLATION_FLOORS.filter((floor) => unkept(floor, kept).length === 0);
}

/** Why a run with this floor must not begin in what keeps only this, and what to do; null: it may. */
export function whyBelowFloor({ floor, from }: FloorInForce, kept: Kept): string | null {
  const missing = unkept(floor, kept);
  if (missing.length === 0) return null;
  const whose = from === "default" ? "" : ` (of the ${from})`;
  const words = missing.map((property) => WORDS[property]).join(", ");
  return `The isolation floor ${floor}${whose} asks for ${words}, which the sandbox would not have. ${advice(missing)}`;
}

function unkept(floor: IsolationFloor, { isolation, limits }: Kept): Property[] {
  const held: Readonly<Record<Property, boolean>> = {
    filesystem: isolation.filesystem === "hard",
    network: isolation.network === "hard",
    processes: isolation.processes === "hard",
    syscalls: isolation.syscalls === "hard",
    ...limits,
  };
  return REQUIRED[floor].filter((property) => !held[property]);
}

/** Without isolation there is no filter either, and the driver is what to change first. */
function advice(missing: readonly Property[]): string {
  if (missing.includes("filesystem") || missing.includes("network") || missing.includes("processes")) return DRIVER_ADVICE;
  const isLimited = !missing.includes("memory") && !missing.includes("cpus") && !missing.includes("pids");
  return [...(missing.includes("syscalls") ? [FILTER_ADVICE] : []), ...(isLimited ? [] : [LIMITS_ADVICE])].join(" ");
}

/** Which of a sandbox's limits are enforced. */
export function keptLimits(granted: Limits): KeptLimits {
  return { memory: granted.memoryBytes !== null, cpus: granted.cpus !== null, pids: granted.pids !== null };
}
