import path from "node:path";
import { probeBwrap } from "./bwrap-probe.ts";
import type { BwrapSupport } from "./bwrap-probe.ts";
import { bwrapWords, GATEWAY_PORT, HOME_INSIDE, WORKSPACE_INSIDE, wordsInside } from "./bwrap-words.ts";
import { makeCgroups } from "./cgroup-make.ts";
import type { PreparedSandbox, SandboxDriver, SandboxProbe, SandboxSpec } from "./driver.ts";
import type { HostToolchains } from "./host-toolchains.ts";
import { SYSTEM_PATH } from "./toolchains.ts";

let support: Promise<BwrapSupport> | null = null;

function findSupport(): Promise<BwrapSupport> {
  const searchPath = (process.env["PATH"] ?? "").split(":").filter((dir) => path.isAbsolute(dir));
  support ??= probeBwrap([...SYSTEM_PATH, ...searchPath]);
  return support;
}

async function probe(): Promise<SandboxProbe> {
  const found = await findSupport();
  const strength = found.available ? "hard" : "none";
  return {
    available: found.available,
    reason: found.available ? null : found.reason,
    isolation: {
      filesystem: strength,
      network: strength,
      processes: strength,
      syscalls: found.available && found.filter !== null ? "hard" : "none",
    },
  };
}

async function prepare(spec: SandboxSpec, toolchains: HostToolchains): Promise<PreparedSandbox> {
  const found = await findSupport();
  if (!found.available) throw new Error(found.reason);
  if (spec.terminal === true && found.filter === null)
    throw new Error("a sandbox without a filter of system calls is given no terminal: what runs in it could type there");
  const { join, granted } = makeCgroups(spec.name, spec.limits);
  return {
    granted,
    launch: {
      argv: [...(spec.enter ?? []), found.program, "--args", "9", "--", ...wordsInside(spec)],
      env: {}, // what bwrap itself is given can be read inside, in /proc/1/environ
      args: bwrapWords(spec, { disableUserNamespaces: found.disableUserNamespaces, filtersSyscalls: found.filter !== null, toolchains }),
      ...(found.filter !== null && { syscallFilter: found.filter }),
      ...(spec.limits.diskBytes !== null && { maxFileBytes: spec.limits.diskBytes }),
      join,
    },
  };
}

/**
 * Isolates with bubblewrap: the system read-only, workspace and home writable, nothing else of the host but
 * toolchains; loopback and the gateway, no other network; own processes only. Inside, the command is the user
 * `agent` (1000); outside, its files belong to the server's user.
 */
export function bwrapDriver(toolchains: HostToolchains): SandboxDriver {
  return {
    name: "bwrap",
    probe,
    pathsInside: () => ({ workspace: WORKSPACE_INSIDE, home: HOME_INSIDE }),
    gatewayUrl: () => `http://127.0.0.1:${GATEWAY_PORT}`,
    prepare: (spec) => prepare(spec, toolchains),
  };
}
