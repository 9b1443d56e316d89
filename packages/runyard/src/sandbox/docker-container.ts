import path from "node:path";
import type { Limits } from "@runyard/sdk/contract";
import { GATEWAY_DOOR_INSIDE, gatewayLauncher, HOME_INSIDE, WORKSPACE_INSIDE } from "./bwrap-words.ts";
import { clampCpus } from "./cgroup-host.ts";
import { withStdio } from "./container-stdio.ts";
import { onceSized } from "./container-terminal.ts";
import type { Engine, HostPrograms } from "./docker-probe.ts";
import type { Mount, SandboxSpec } from "./driver.ts";

/** Where a container finds what is the host's: a loader, its libraries, and two programs that run with these in any image. */
const OURS = "/run/runyard";
const LOADER = `${OURS}/ld.so`;
const LIBRARIES = `${OURS}/lib`;
const BIN = `${OURS}/bin`;
/** The host's node, for agents that run in it. Last in PATH: an image's own comes first. */
export const NODE_INSIDE = `${BIN}/node`;
const SOCAT_WORDS = `${LOADER} --library-path ${LIBRARIES} ${OURS}/socat`;

const SHARED_MEMORY_BYTES = 512 << 20;
const USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Labels by which containers of a home, and their run directories, are known again. */
export const HOME_LABEL = "dev.runyard.home";
const STEP_LABEL = "dev.runyard.step";
export const DIRECTORY_LABEL = "dev.runyard.directory";

/** What a container is made of beside the specification. */
export interface ContainerParts {
  readonly engine: Engine;
  readonly programs: HostPrograms;
  /** The script that starts the host's node inside. */
  readonly nodeScript: string;
  readonly image: string;
  /** Variables that the image sets, as `NAME=value`. */
  readonly imageEnv: readonly string[];
  /** Of the workspace. */
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly homeId: string;
}

/** The limits that this engine enforces. */
export function grantedBy({ limits, cpus }: Engine, wanted: Limits): Limits {
  return {
    memoryBytes: limits.memory ? wanted.memoryBytes : null,
    cpus: limits.cpus ? clampCpus(wanted.cpus, cpus) : null,
    pids: limits.pids ? wanted.pids : null,
    diskBytes: null,
  };
}

/** Body of `POST /containers/create`; what its command has as stdio comes with the run directory. */
export interface ContainerConfig {
  readonly Labels: Readonly<Record<string, string>>;
  readonly HostConfig: { readonly Mounts: readonly unknown[]; readonly SecurityOpt: readonly string[] } & Readonly<Record<string, unknown>>;
  readonly [name: string]: unknown;
}

/** Nothing of the host but what is named here, no network, no way to more rights. */
export function containerConfig(spec: SandboxSpec, parts: ContainerParts): ContainerConfig {
  const { engine, image, homeId } = parts;
  const [program, ...words] = wordsInside(spec);
  const granted = grantedBy(engine, spec.limits);
  const isTerminal = spec.terminal === true;
  return {
    Image: image,
    Hostname: "sandbox",
    User: userInside(parts),
    WorkingDir: WORKSPACE_INSIDE,
    Entrypoint: [program],
    Cmd: words,
    Env: envInside(spec, parts.imageEnv),
    // A terminal comes by the engine's stream, as the host's one is kept from a container; everything else by fifos.
    ...(isTerminal && { Tty: true, OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true }),
    Healthcheck: { Test: ["NONE"] },
    Labels: { [HOME_LABEL]: homeId, [STEP_LABEL]: spec.name },
    HostConfig: {
      NetworkMode: "none",
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges", ...(engine.labels === "selinux" ? ["label=disable"] : [])],
      ...(engine.remapsUsers && !engine.rootless && { UsernsMode: "host" }),
      Init: true,
      OomScoreAdj: 500,
      // What a container writes goes to the journal of its run directory and nowhere else.
      LogConfig: { Type: "none", Config: {} },
      Tmpfs: { "/tmp": "rw,exec,nosuid,nodev,mode=1777", "/var/tmp": "rw,exec,nosuid,nodev,mode=1777", "/run": "ro,nosuid,nodev,mode=755" },
      ShmSize: SHARED_MEMORY_BYTES,
      Mounts: mountsOf(spec, parts).map(bindMount),
      ...(granted.memoryBytes !== null && { Memory: granted.memoryBytes, MemorySwap: granted.memoryBytes }),
      ...(granted.cpus !== null && { NanoCpus: Math.round(granted.cpus * 1e9) }),
      ...(granted.pids !== null && { PidsLimit: granted.pids }),
      // No file grows past the disk limit at once; how much there is altogether is looked at from outside.
      ...(spec.limits.diskBytes !== null && { Ulimits: [{ Name: "fsize", Soft: spec.limits.diskBytes, Hard: spec.limits.diskBytes }] }),
    },
  };
}

/** Files of workspace and home stay the server's: its user has them, and where an engine is rootless, root inside is that user. */
function userInside({ engine, owner }: ContainerParts): string {
  return engine.rootless ? "0:0" : `${owner.uid}:${owner.gid}`;
}

function wordsInside({ argv, gatewayDoorDir, terminal }: SandboxSpec): string[] {
  const words = gatewayDoorDir === null ? argv : ["/bin/sh", "-c", gatewayLauncher(SOCAT_WORDS), "runyard-gateway", ...argv];
  return terminal === true ? onceSized(words) : withStdio(words);
}

function envInside({ env }: SandboxSpec, imageEnv: readonly string[]): string[] {
  const ofImage = Object.fromEntries(imageEnv.map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]));
  const all = { ...ofImage, PWD: WORKSPACE_INSIDE, PATH: `${ofImage["PATH"] || USUAL_PATH}:${BIN}`, ...env };
  return Object.entries(all).map(([name, value]) => `${name}=${value}`);
}

function mountsOf(spec: SandboxSpec, { programs, nodeScript }: ContainerParts): Mount[] {
  const { workspace, home } = spec.dirs;
  const ours = {
    [LOADER]: programs.loader,
    [LIBRARIES]: programs.libraries,
    [`${OURS}/socat`]: programs.socat,
    [`${OURS}/node`]: programs.node,
  };
  return [
    { source: workspace, target: WORKSPACE_INSIDE, mode: spec.writableWorkspace ? "rw" : "ro" },
    { source: home, target: HOME_INSIDE, mode: "rw" },
    ...Object.entries(ours).map(([target, source]): Mount => ({ source, target, mode: "ro" })),
    { source: nodeScript, target: NODE_INSIDE, mode: "ro" },
    ...spec.mounts,
    // The directory and not the socket, so that a new gateway is found behind the same door.
    ...(spec.gatewayDoorDir === null ? [] : [{ source: spec.gatewayDoorDir, target: GATEWAY_DOOR_INSIDE, mode: "ro" } as const]),
  ];
}

/** One of `HostConfig.Mounts`. */
export function bindMount({ source, target, mode }: Mount): Readonly<Record<string, unknown>> {
  for (const file of [source, target]) {
    if (!path.isAbsolute(file)) throw new Error(`${JSON.stringify(file)} cannot be shown in a sandbox: its path is not absolute`);
  }
  return { Type: "bind", Source: source, Target: target, ReadOnly: mode === "ro", BindOptions: { Propagation: "rprivate" } };
}
