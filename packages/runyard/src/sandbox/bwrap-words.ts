import { readdirSync, readlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Mount, SandboxSpec } from "./driver.ts";
import type { HostToolchains } from "./host-toolchains.ts";
import { hostToolchains, isBelow, pathInside, systemDirs } from "./toolchains.ts";

export const WORKSPACE_INSIDE = "/workspace";
export const HOME_INSIDE = "/home/agent";
export const GATEWAY_PORT = 3128;
export const GATEWAY_DOOR_INSIDE = "/run/runyard/gateway";

const ETC = fileURLToPath(new URL("programs/etc/", import.meta.url));

/** Files of the host's /etc that programs need and that hold no secrets. Never /etc/ssl or /etc/pki whole: private keys lie there. */
const ETC_SHOWN = [
  "alternatives",
  "ca-certificates",
  "fonts",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "localtime",
  "mime.types",
  "os-release",
  "pki/ca-trust/extracted",
  "pki/tls/cert.pem",
  "pki/tls/certs",
  "protocols",
  "services",
  "ssl/cert.pem",
  "ssl/certs",
  "ssl/openssl.cnf",
  "timezone",
];

/**
 * Opens the way to the gateway, waits until it is open, and becomes the command. Given as a word, so that
 * nothing of it lies on a disk; it counts in a subshell, so that no variable of the command is touched. It mostly is
 * open at the first look, and a few milliseconds later otherwise: long naps are for a machine that has no time.
 * `socat`: the words that start it.
 */
export const gatewayLauncher = (socat: string): string => `
${socat} TCP-LISTEN:${GATEWAY_PORT},bind=127.0.0.1,fork,reuseaddr \\
  UNIX-CONNECT:${GATEWAY_DOOR_INSIDE}/sock,retry=100,interval=0.05 </dev/null >/dev/null 2>&1 &
( tries=0
  until while read -r _ address _ state _; do
      case $address/$state in *:${GATEWAY_PORT.toString(16).toUpperCase().padStart(4, "0")}/0A) break ;; *) false ;; esac
    done </proc/net/tcp; do
    kill -0 $! && [ $((tries += 1)) -lt 500 ] || exit
    [ $tries -gt 20 ] && sleep 0.01 || sleep 0.001
  done ) || { echo 'runyard: the way to the gateway could not be opened' >&2; exit 96; }
exec "$@"
`;

/** A read-only view of a fixed list of things. */
function showEtc(): string[] {
  const made = ["passwd", "group", "hosts", "nsswitch.conf"].flatMap((name) => ["--ro-bind", path.join(ETC, name), `/etc/${name}`]);
  const java = readdirSync("/etc").filter((name) => /^java-\d/.test(name)); // its runtime links here
  const shown = [...ETC_SHOWN, ...java].flatMap((name) => ["--ro-bind-try", `/etc/${name}`, `/etc/${name}`]);
  return [...made, ...shown];
}

function showSystem(): string[] {
  return systemDirs().flatMap(({ dir, link }) => (link ? ["--symlink", readlinkSync(dir), dir] : ["--ro-bind", dir, dir]));
}

function showMount({ source, target, mode }: Mount): string[] {
  for (const file of [source, target]) {
    if (!path.isAbsolute(file)) throw new Error(`${JSON.stringify(file)} cannot be shown in a sandbox: its path is not absolute`);
  }
  return [mode === "rw" ? "--bind" : "--ro-bind", source, target];
}

/** Those that are gone by now are left out: a server lives longer than many an installation. */
function showToolchains(found: HostToolchains): string[] {
  const own = hostToolchains().flatMap((toolchain) => toolchain.mounts);
  const further = found.mounts.filter((mount) => !own.some(({ source }) => isBelow(mount.source, source)));
  return [...own.flatMap(showMount), ...further.flatMap(({ source, target }) => ["--ro-bind-try", source, target])];
}

function showRun(spec: SandboxSpec): string[] {
  const { workspace, home } = spec.dirs;
  const mounts: Mount[] = [
    { source: workspace, target: WORKSPACE_INSIDE, mode: spec.writableWorkspace ? "rw" : "ro" },
    { source: home, target: HOME_INSIDE, mode: "rw" },
    ...spec.mounts,
  ];
  // The directory and not the socket, so that a new gateway is found behind the same door; connecting needs no write access to it.
  if (spec.gatewayDoorDir !== null) mounts.push({ source: spec.gatewayDoorDir, target: GATEWAY_DOOR_INSIDE, mode: "ro" });
  return mounts.flatMap(showMount);
}

/**
 * The options of bwrap for a sandbox: nothing of the host but what is named here, nothing inherited, no
 * network, no way to more rights. `disableUserNamespaces`: where this bwrap can. `filtersSyscalls`: descriptor 8 holds a filter.
 */
export function bwrapWords(
  spec: SandboxSpec,
  options: { readonly disableUserNamespaces: boolean; readonly filtersSyscalls: boolean; readonly toolchains: HostToolchains },
): string[] {
  const { toolchains } = options;
  const env = { ...toolchains.env, PATH: pathInside(hostToolchains(), toolchains.path), ...spec.env };
  return [
    "--unshare-all",
    "--unshare-user",
    ...(options.disableUserNamespaces ? ["--disable-userns"] : []),
    ...(options.filtersSyscalls ? ["--seccomp", "8"] : []),
    "--die-with-parent",
    // Without it, a program could type into the terminal, but for the filter of system calls.
    ...(spec.terminal === true && options.filtersSyscalls ? [] : ["--new-session"]),
    "--cap-drop",
    "ALL",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--hostname",
    "sandbox",
    ...showSystem(),
    ...showEtc(),
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/dev/shm",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/var/tmp",
    ...showToolchains(toolchains),
    ...showRun(spec),
    // A server that runs as root lends its user to the sandbox, and /proc/sys asks for nothing but that user.
    "--remount-ro",
    "/proc",
    "--remount-ro",
    "/dev",
    "--remount-ro",
    "/",
    "--chdir",
    WORKSPACE_INSIDE,
    "--clearenv",
    ...Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
  ];
}

/** The words that are run inside: the command, behind the way to the gateway where it has one. */
export function wordsInside(spec: SandboxSpec): string[] {
  return spec.gatewayDoorDir === null ? [...spec.argv] : ["/bin/sh", "-c", gatewayLauncher("socat"), "runyard-gateway", ...spec.argv];
}
