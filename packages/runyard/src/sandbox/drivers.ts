import type { SandboxDriverName } from "@runyard/sdk/contract";
import { bwrapDriver } from "./bwrap-driver.ts";
import type { SandboxDriver } from "./driver.ts";
import { processDriver } from "./process-driver.ts";

const DRIVERS: Readonly<Record<SandboxDriverName, SandboxDriver>> = { bwrap: bwrapDriver, process: processDriver };

/** The driver of that name; whether it works on this machine, its `probe` tells. */
export function sandboxDriver(name: SandboxDriverName): SandboxDriver {
  return DRIVERS[name];
}
