import type { SandboxDriverName } from "@runyard/sdk/contract";
import { bwrapDriver } from "./bwrap-driver.ts";
import type { SandboxDriver } from "./driver.ts";
import { type HostToolchains, NO_TOOLCHAINS } from "./host-toolchains.ts";
import { processDriver } from "./process-driver.ts";

/** The drivers by name, with the toolchains that their sandboxes show; whether one works on this machine, its `probe` tells. */
export function sandboxDrivers(toolchains: HostToolchains): (name: SandboxDriverName) => SandboxDriver {
  const drivers: Readonly<Record<SandboxDriverName, SandboxDriver>> = { bwrap: bwrapDriver(toolchains), process: processDriver };
  return (name) => drivers[name];
}

/** Drivers that show no toolchains of the host but its system's and the server's Node.js. */
export const sandboxDriver = sandboxDrivers(NO_TOOLCHAINS);
