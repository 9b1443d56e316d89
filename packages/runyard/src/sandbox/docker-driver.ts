import { createHash } from "node:crypto";
import { realpathSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { GATEWAY_PORT, HOME_INSIDE, WORKSPACE_INSIDE } from "./bwrap-words.ts";
import { type ContainerConfig, containerConfig, grantedBy, NODE_INSIDE } from "./docker-container.ts";
import { askEngine, complaintOf, type ContainerRef } from "./docker-engine.ts";
import { type Engine, type EngineSupport, probeEngine } from "./docker-probe.ts";
import { type SyscallProfile, syscallProfile } from "./seccomp-profile.ts";
import { type PreparedSandbox, type SandboxDriver, type SandboxProbe, type SandboxSpec, SandboxUnavailableError } from "./driver.ts";

/** What containers take that outlives the server, and whose they are. */
export interface DockerPlace {
  /** The bundled program that stands for a container on the host. */
  readonly containerProgram: string;
  /** The script that starts the host's node in a container. */
  readonly containerNode: string;
  /** Names the home for ever. */
  readonly homeId: string;
}

/** What is handed to the program that stands for a container. */
export interface ContainerJob {
  readonly container: ContainerRef;
  readonly config: ContainerConfig;
  /** The filter of system calls, and how the engine takes it; null where it takes none. */
  readonly syscalls: { readonly profile: SyscallProfile; readonly as: "file" | "text" } | null;
  /** Whether a command line has started it and waits for it, with a terminal or without; null: a shim has. */
  readonly attended: "terminal" | "pipes" | null;
  /** The user whom the command's stdio belongs to, as seen on the host. */
  readonly owner: { readonly uid: number; readonly gid: number };
}

/** For how long an engine that answered is not asked again how it is set up. */
const KNOWN_MS = 30_000;

let known: { readonly support: EngineSupport; readonly untilMs: number } | null = null;

/** The engine of this machine, as it is set up. */
export async function findEngine(): Promise<EngineSupport> {
  if (known !== null && performance.now() < known.untilMs) return known.support;
  const support = await probeEngine(process.env);
  known = support.available ? { support, untilMs: performance.now() + KNOWN_MS } : null;
  return support;
}

/** The lease of a runner is renewed with what is probed: an engine that hangs must not hold that up. */
const PATIENCE_MS = 3_000;

async function probe(): Promise<SandboxProbe> {
  const reason = "The container engine takes too long to answer. Look at it, or choose the driver `bwrap`.";
  const slow = sleep(PATIENCE_MS, { available: false, reason } as const, { ref: false });
  const found = await Promise.race([findEngine(), slow]);
  const strength = found.available ? "hard" : "none";
  return {
    available: found.available,
    reason: found.available ? null : found.reason,
    isolation: {
      filesystem: strength,
      network: strength,
      processes: strength,
      syscalls: found.available && found.engine.filtersSyscalls ? "hard" : "none",
    },
    limits: found.available ? found.engine.limits : { memory: false, cpus: false, pids: false },
  };
}

/** The name of a step's container: the same each time, and nobody else's. */
function containerName(homeId: string, step: string): string {
  if (!/^[A-Za-z0-9_-]{1,200}$/.test(step)) throw new Error(`${JSON.stringify(step)} cannot name a container`);
  return `runyard-${createHash("sha256").update(homeId).digest("hex").slice(0, 12)}-${step}`;
}

/** Variables of an image. Throws SandboxUnavailableError where it is not there: nothing is fetched without being asked. */
async function imageEnvOf(engine: Engine, image: string): Promise<readonly string[]> {
  const path = `/images/${encodeURIComponent(image).replaceAll("%2F", "/")}/json`;
  const answer = await askEngine(engine, { method: "GET", path }).catch((error: Error) => {
    throw new SandboxUnavailableError(`${error.message}.`);
  });
  if (answer.status === 404)
    throw new SandboxUnavailableError(
      `The image ${image} is not on this machine, and Runyard fetches none: get it with \`${engine.program} pull ${image}\` and start the run again.`,
    );
  if (answer.status !== 200) throw new SandboxUnavailableError(`The image ${image} cannot be used: ${complaintOf(answer)}.`);
  const { Config } = answer.body as { Config?: { Env?: readonly string[] | null } | null };
  return Config?.Env ?? [];
}

async function prepare(spec: SandboxSpec, place: DockerPlace): Promise<PreparedSandbox> {
  const name = containerName(place.homeId, spec.name);
  const found = await findEngine();
  if (!found.available) throw new SandboxUnavailableError(found.reason);
  const { engine, programs } = found;
  const { image } = spec;
  if (image === undefined)
    throw new SandboxUnavailableError(
      "A run with the driver docker needs an image: name one with --image, or start the server with --docker-image.",
    );
  const { uid, gid } = statSync(spec.dirs.workspace);
  const config = containerConfig(spec, {
    engine,
    programs,
    nodeScript: place.containerNode,
    image,
    imageEnv: await imageEnvOf(engine, image),
    owner: { uid, gid },
    homeId: place.homeId,
  });
  const container = { socketPath: engine.socketPath, apiVersion: engine.apiVersion, name };
  const profile = engine.filtersSyscalls ? syscallProfile(process.arch) : null;
  const syscalls = profile === null ? null : ({ profile, as: engine.program === "podman" ? "file" : "text" } as const);
  const job: ContainerJob = {
    container,
    config,
    syscalls,
    attended: !spec.attended ? null : spec.terminal ? "terminal" : "pipes",
    owner: { uid, gid },
  };
  return {
    granted: grantedBy(engine, spec.limits),
    launch: { argv: [realpathSync(process.execPath), place.containerProgram], env: {}, args: [JSON.stringify(job)], join: [], container },
  };
}

/**
 * Isolates with containers of Docker or Podman: the files of an image, read-only; workspace and home writable; no
 * network but the gateway. Inside, the command is the user who owns the workspace, without capabilities.
 */
export function dockerDriver(place: DockerPlace): SandboxDriver {
  return {
    name: "docker",
    probe,
    nodeInside: NODE_INSIDE,
    pathsInside: () => ({ workspace: WORKSPACE_INSIDE, home: HOME_INSIDE }),
    gatewayUrl: () => `http://127.0.0.1:${GATEWAY_PORT}`,
    prepare: (spec) => prepare(spec, place),
  };
}
