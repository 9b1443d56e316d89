import { existsSync, realpathSync } from "node:fs";
import path from "node:path";
import { askEngine, complaintOf, type EngineAddress, EngineAwayError } from "./docker-engine.ts";
import { findProgram, SYSTEM_PATH } from "./toolchains.ts";

/** Versions of the API that are spoken here: the oldest that has all that is asked for. Newer engines refuse old ones. */
const SPOKEN_API = 41;
const PROBE_TIMEOUT_MS = 5_000;

/** An engine that answers. */
export interface Engine extends EngineAddress {
  /** Its name, with the version. */
  readonly title: string;
  /** Its command line, for advice. */
  readonly program: "docker" | "podman";
  /** It runs as an ordinary user, to whom root inside is mapped. */
  readonly rootless: boolean;
  /** It maps users of containers to others of the host (`userns-remap`). */
  readonly remapsUsers: boolean;
  readonly filtersSyscalls: boolean;
  readonly labels: "selinux" | "none";
  readonly limits: { readonly memory: boolean; readonly cpus: boolean; readonly pids: boolean };
  readonly cpus: number;
}

/** Programs of this machine that are shown in every container, so that images need not have them. */
export interface HostPrograms {
  /** The host's dynamic loader and the directory of its libraries: with these the other two run in any image. */
  readonly loader: string;
  readonly libraries: string;
  readonly socat: string;
  readonly node: string;
}

export type EngineSupport =
  | { readonly available: true; readonly engine: Engine; readonly programs: HostPrograms }
  | { readonly available: false; readonly reason: string };

const INSTEAD = "or choose the driver `bwrap`.";

/** Where engines listen, the likeliest first. Throws an Error with a plain sentence for a DOCKER_HOST that cannot be used. */
export function engineSockets(env: NodeJS.ProcessEnv): string[] {
  const { DOCKER_HOST: host, XDG_RUNTIME_DIR: runtimeDir } = env;
  if (host) {
    if (/^unix:\/\/\/./.test(host)) return [host.slice("unix://".length)];
    throw new Error(
      `DOCKER_HOST is ${JSON.stringify(host)}, and only an engine of this machine can be used, by its socket: set it to unix:///path/to/docker.sock or leave it out.`,
    );
  }
  const own = runtimeDir && path.isAbsolute(runtimeDir) ? [runtimeDir] : [];
  return [
    "/var/run/docker.sock",
    ...own.map((dir) => path.join(dir, "docker.sock")),
    ...own.map((dir) => path.join(dir, "podman/podman.sock")),
    "/run/podman/podman.sock",
  ];
}

const LOADERS: Readonly<Record<string, string>> = { x64: "/lib64/ld-linux-x86-64.so.2", arm64: "/lib/ld-linux-aarch64.so.1" };

/** The programs of this machine, or why a container could not have them. */
export function findHostPrograms(): HostPrograms | string {
  const socat = findProgram("socat", SYSTEM_PATH);
  if (socat === null) return `socat is not installed, the only way out of a container: install the package \`socat\`.`;
  const known = LOADERS[process.arch];
  if (process.platform !== "linux" || known === undefined || !existsSync(known))
    return `The driver \`docker\` needs a Linux with the GNU C library, on x86-64 or arm64: choose another driver.`;
  const loader = realpathSync(known);
  return { loader, libraries: path.dirname(loader), socat: realpathSync(socat), node: realpathSync(process.execPath) };
}

/** Finds an engine that answers, and what it can. */
export async function probeEngine(env: NodeJS.ProcessEnv): Promise<EngineSupport> {
  const programs = findHostPrograms();
  if (typeof programs === "string") return { available: false, reason: programs };
  let sockets: string[];
  try {
    sockets = engineSockets(env);
  } catch (error) {
    return { available: false, reason: (error as Error).message };
  }
  const said: string[] = [];
  for (const socketPath of sockets) {
    try {
      return { available: true, engine: await lookAt(socketPath), programs };
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
      if (code !== "ENOENT" || env["DOCKER_HOST"]) said.push(whyNot(socketPath, error as Error, code));
    }
  }
  const why = said[0] ?? `No container engine answers at ${sockets.join(" or ")}.`;
  return {
    available: false,
    reason: `${why} Install and start Docker or Podman, set DOCKER_HOST to its socket, ${INSTEAD}`,
  };
}

function whyNot(socketPath: string, error: Error, code: string | undefined): string {
  if (code === "EACCES")
    return `The container engine at ${socketPath} is not open to this user: add the user to its group (often \`docker\`).`;
  if (code === "ECONNREFUSED" || code === "ENOENT") return `No container engine answers at ${socketPath}: it is not running.`;
  return `${error.message}.`;
}

interface VersionAnswer {
  readonly Version?: string;
  readonly ApiVersion?: string;
  readonly MinAPIVersion?: string;
  readonly Components?: readonly { readonly Name?: string; readonly Details?: { readonly APIVersion?: string } }[];
}

interface InfoAnswer {
  readonly SecurityOptions?: readonly string[] | null;
  readonly MemoryLimit?: boolean;
  readonly CpuCfsQuota?: boolean;
  readonly CPUCfsQuota?: boolean;
  readonly PidsLimit?: boolean;
  readonly NCPU?: number;
  /** Podman's, where Docker has a security option. */
  readonly Rootless?: boolean;
}

/** Of Podman's own API. */
interface PodmanAnswer {
  readonly host?: { readonly cgroupControllers?: readonly string[] | null };
}

function limitsOfDocker(info: InfoAnswer): Engine["limits"] {
  return { memory: info.MemoryLimit === true, cpus: (info.CpuCfsQuota ?? info.CPUCfsQuota) === true, pids: info.PidsLimit === true };
}

/** Its `/info` tells what the kernel has, also where a rootless Podman has none of it. */
function limitsOfPodman({ host }: PodmanAnswer): Engine["limits"] {
  const has = (name: string): boolean => (host?.cgroupControllers ?? []).includes(name);
  return { memory: has("memory"), cpus: has("cpu"), pids: has("pids") };
}

/** The version of the API to speak with an engine that has those from `oldest` to `newest`. */
export function spokenVersion(oldest: string | undefined, newest: string | undefined): string {
  const minor = (version: string | undefined): number => Number(/^1\.(\d+)$/.exec(version ?? "")?.[1] ?? SPOKEN_API);
  if (minor(newest) < 40)
    throw new EngineAwayError(`The container engine is too old: its API is ${newest}, and 1.40 is needed (Docker 19.03)`);
  return `1.${Math.max(Math.min(SPOKEN_API, minor(newest)), minor(oldest ?? "1.0"))}`;
}

async function lookAt(socketPath: string): Promise<Engine> {
  const ask = async <T>(place: { readonly socketPath: string; readonly apiVersion?: string }, where: string): Promise<T> => {
    const answer = await askEngine(place, { method: "GET", path: where, timeoutMs: PROBE_TIMEOUT_MS });
    if (answer.status !== 200) throw new EngineAwayError(`The container engine at ${socketPath} cannot be used: ${complaintOf(answer)}`);
    return answer.body as T;
  };
  const version = await ask<VersionAnswer>({ socketPath }, "/version");
  const address = { socketPath, apiVersion: spokenVersion(version.MinAPIVersion, version.ApiVersion) };
  const info = await ask<InfoAnswer>(address, "/info");
  const options = info.SecurityOptions ?? [];
  const has = (name: string): boolean => options.some((option) => option.split(",").includes(`name=${name}`));
  const podman = (version.Components ?? []).find(({ Name }) => /podman/i.test(Name ?? ""));
  const limits =
    podman === undefined
      ? limitsOfDocker(info)
      : limitsOfPodman(await ask<PodmanAnswer>({ socketPath, apiVersion: podman.Details?.APIVersion ?? "4.0.0" }, "/libpod/info"));
  return {
    ...address,
    program: podman === undefined ? "docker" : "podman",
    title: `${podman === undefined ? "Docker" : "Podman"} ${version.Version ?? "of unknown version"}`,
    rootless: has("rootless") || info.Rootless === true,
    remapsUsers: has("userns"),
    filtersSyscalls: has("seccomp"),
    labels: has("selinux") ? "selinux" : "none",
    limits,
    cpus: info.NCPU ?? 1,
  };
}
