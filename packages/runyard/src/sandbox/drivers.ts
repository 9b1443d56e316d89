import type { SandboxDriverName } from "@runyard/sdk/contract";
import { bwrapDriver } from "./bwrap-driver.ts";
import { type DockerPlace, dockerDriver } from "./docker-driver.ts";
import type { SandboxDriver } from "./driver.ts";
import { type HostToolchains, NO_TOOLCHAINS } from "./host-toolchains.ts";
import { processDriver } from "./process-driver.ts";

/** Drivers that need nothing but this machine. */
export type PlainDriverName = Exclude<SandboxDriverName, "docker">;

function plainDrivers(toolchains: HostToolchains): Readonly<Record<PlainDriverName, SandboxDriver>> {
  return { bwrap: bwrapDriver(toolchains), process: processDriver };
}

const PLAIN = plainDrivers(NO_TOOLCHAINS);

/** The driver of that name, with no toolchains of the host but its system's and the server's Node.js; whether it works here, its `probe` tells. */
export function sandboxDriver(name: PlainDriverName): SandboxDriver {
  return PLAIN[name];
}

/** All drivers, for a server that has installed what containers take, with the toolchains of the host that bwrap's sandboxes show. */
export function sandboxDrivers(place: DockerPlace, toolchains: HostToolchains): (name: SandboxDriverName) => SandboxDriver {
  const plain = plainDrivers(toolchains);
  const docker = dockerDriver(place);
  return (name) => (name === "docker" ? docker : plain[name]);
}
