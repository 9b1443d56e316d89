import path from "node:path";
import { makeCgroups } from "./cgroup-make.ts";
import type { PreparedSandbox, SandboxDriver, SandboxSpec } from "./driver.ts";

function requirePossible(spec: SandboxSpec): void {
  if (!spec.writableWorkspace) {
    throw new Error("the process driver cannot keep a workspace from being written: use the driver `bwrap` for a run that must not write");
  }
  const moved = spec.mounts.find((mount) => mount.source !== mount.target);
  if (moved !== undefined) {
    throw new Error(`the process driver shows files where they are: it cannot show ${moved.source} as ${moved.target}`);
  }
}

async function prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
  requirePossible(spec);
  const { join, granted } = makeCgroups(spec.name, spec.limits);
  const PATH = `${path.dirname(process.execPath)}:${process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"}`;
  const env: Readonly<Record<string, string>> = { PATH, ...spec.env };
  const own = env["HOME"] === spec.dirs.home ? { ownHome: spec.dirs.home } : {};
  const files = spec.limits.diskBytes === null ? {} : { maxFileBytes: spec.limits.diskBytes };
  return { granted, launch: { argv: spec.argv, env, args: [], join, cwd: spec.dirs.workspace, ...own, ...files } };
}

/** No isolation at all: the command runs as the server's user, sees what that user sees, and must be asked for by name. */
export const processDriver: SandboxDriver = {
  name: "process",
  probe: async () => ({
    available: true,
    reason: null,
    isolation: { filesystem: "none", network: "none", processes: "none", syscalls: "none" },
  }),
  pathsInside: (dirs) => dirs,
  gatewayUrl: (tcpPort) => `http://127.0.0.1:${tcpPort}`,
  prepare,
};
