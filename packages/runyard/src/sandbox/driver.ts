import type { Isolation, Limits, SandboxDriverName } from "@runyard/sdk/contract";
import type { ContainerRef } from "./docker-engine.ts";

/** A directory or file of the host that is seen inside a sandbox. */
export interface Mount {
  readonly source: string;
  /** Absolute path inside. The `process` driver cannot move things: there it must equal `source`. */
  readonly target: string;
  readonly mode: "ro" | "rw";
}

/** The two directories that a run may write, as paths on the host. */
export interface SandboxDirs {
  readonly workspace: string;
  readonly home: string;
}

/** What to run in a sandbox, once. */
export interface SandboxSpec {
  readonly dirs: SandboxDirs;
  /** Argument words; the first is a program, as seen inside. */
  readonly argv: readonly string[];
  /** The whole environment inside; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** `workspace` and `home` are always mounted; these come on top (caches, toolchains, a results folder). */
  readonly mounts: readonly Mount[];
  /** False: the workspace is mounted read-only. */
  readonly writableWorkspace: boolean;
  /** The directory that holds the gateway's public socket, or null for no network at all. */
  readonly gatewayDoorDir: string | null;
  readonly limits: Limits;
  /** True: it stays in the session of whoever starts it, so that their terminal is its own. Only where system calls are filtered. */
  readonly terminal?: boolean;
  /** Words before those of the sandbox: what makes it inside of mounts that somebody holds. */
  readonly enter?: readonly string[];
  /** True: a command line starts it, and it ends with that (cli/attach.ts); default: a shim does. */
  readonly attended?: boolean;
  /** Names the cgroup, for example `run_01k…-1-agent`: letters, digits, `-` and `_`. */
  readonly name: string;
  /** The container image, for the driver `docker`; the others have none. */
  readonly image?: string;
}

/** How the shim starts a command: words, environment, and what is read from files so that it is in nobody's argv. */
export interface Launch {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Words for `bwrap --args 9`, given on descriptor 9 and never visible in a process list; empty for none. */
  readonly args: readonly string[];
  /** What bwrap gives to the kernel as filter of system calls (seccomp), on descriptor 8; left out: none. */
  readonly syscallFilter?: Buffer;
  /** `cgroup.procs` files (version 1: `tasks`) that the shim joins before it starts anything. */
  readonly join: readonly string[];
  /** Absolute working directory; default: the run directory. */
  readonly cwd?: string;
  /** The longest that a file may become that it writes, in bytes; left out: as long as the shim's may. */
  readonly maxFileBytes?: number;
  /**
   * The HOME of this command, where it is nobody else's while the command lives: whoever has it in its environment
   * was started by it. Not needed where the command and all that it starts are in a pid namespace.
   */
  readonly ownHome?: string;
  /** The container that the command makes: whoever ends the command for certain removes it too. */
  readonly container?: ContainerRef;
}

export interface PreparedSandbox {
  readonly launch: Launch;
  readonly granted: Limits;
}

export interface SandboxProbe {
  readonly available: boolean;
  /** Why not, and what to do about it; null when available. */
  readonly reason: string | null;
  readonly isolation: Isolation;
  /** Which limits it enforces; left out: those for which this machine lets the server make control groups. */
  readonly limits?: { readonly memory: boolean; readonly cpus: boolean; readonly pids: boolean };
}

/** A sandbox cannot be made here, and why, in plain sentences. */
export class SandboxUnavailableError extends Error {
  override readonly name = "SandboxUnavailableError";
}

/** One way to isolate. Three exist: `bwrap`, `docker` and `process`; all keep the contract suite. */
export interface SandboxDriver {
  readonly name: SandboxDriverName;
  probe(): Promise<SandboxProbe>;
  /** The server's node as it is found inside, where that is not its own place. */
  readonly nodeInside?: string;
  /** Where the agent finds workspace and home: paths as seen inside. */
  pathsInside(dirs: SandboxDirs): SandboxDirs;
  /** Base URL of the gateway as the agent reaches it, given the gateway's TCP port on loopback. */
  gatewayUrl(tcpPort: number): string;
  /** Makes what must exist before the start (cgroups) and says how to start. */
  prepare(spec: SandboxSpec): Promise<PreparedSandbox>;
}
