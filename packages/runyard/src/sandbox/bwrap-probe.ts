import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import { bwrapWords } from "./bwrap-words.ts";
import { NO_LIMITS } from "./cgroup-grant.ts";
import type { SandboxSpec } from "./driver.ts";
import { syscallFilter } from "./seccomp.ts";
import { NO_TOOLCHAINS } from "./host-toolchains.ts";
import { findProgram, SYSTEM_PATH } from "./toolchains.ts";

/** What bwrap can do on this machine. */
export type BwrapSupport =
  | {
      readonly available: true;
      readonly program: string;
      readonly disableUserNamespaces: boolean;
      /** The filter of system calls that the kernel takes from it; null where it takes none. */
      readonly filter: Buffer | null;
    }
  | { readonly available: false; readonly reason: string };

const PROBE_TIMEOUT_MS = 10_000;
const INSTEAD = "or choose the driver `process`, which does not isolate";

/** Switches of the kernel that can forbid sandboxes; null where this kernel has no such switch. */
export interface KernelSwitches {
  readonly apparmorRestrictsUserNamespaces: string | null;
  readonly unprivilegedUserNamespaces: string | null;
  readonly maxUserNamespaces: string | null;
}

function readSwitch(name: string): string | null {
  try {
    return readFileSync(path.join("/proc/sys", name), "utf8").trim();
  } catch {
    return null;
  }
}

function readKernelSwitches(): KernelSwitches {
  return {
    apparmorRestrictsUserNamespaces: readSwitch("kernel/apparmor_restrict_unprivileged_userns"),
    unprivilegedUserNamespaces: readSwitch("kernel/unprivileged_userns_clone"),
    maxUserNamespaces: readSwitch("user/max_user_namespaces"),
  };
}

/** Why a first sandbox did not start, and what to do, from what bwrap said and how the kernel is set. */
export function explainFailure(said: string, switches: KernelSwitches): string {
  if (/unknown option/i.test(said)) {
    return `This bubblewrap is too old (${said}). Install version 0.5 or newer, ${INSTEAD}.`;
  }
  const begin = `A sandbox could not be started (${said || "bwrap said nothing"}). `;
  if (switches.maxUserNamespaces === "0") {
    return `${begin}This machine allows no user namespaces: set \`sysctl user.max_user_namespaces=10000\`, ${INSTEAD}.`;
  }
  if (switches.unprivilegedUserNamespaces === "0") {
    return `${begin}This machine allows user namespaces to root only: set \`sysctl kernel.unprivileged_userns_clone=1\`, ${INSTEAD}.`;
  }
  if (switches.apparmorRestrictsUserNamespaces === "1") {
    return (
      `${begin}AppArmor restricts user namespaces here, as on Ubuntu 23.10 and later. Either give bwrap a profile: write ` +
      "`abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }` to /etc/apparmor.d/bwrap " +
      "and load it with `apparmor_parser -r /etc/apparmor.d/bwrap`; or set `sysctl kernel.apparmor_restrict_unprivileged_userns=0` " +
      `for the whole machine; ${INSTEAD}.`
    );
  }
  if (/not permitted|permission denied|no permissions/i.test(said)) {
    return `${begin}User namespaces are refused, as they are inside most containers: run Runyard outside, start the container with \`--security-opt seccomp=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN\`, ${INSTEAD}.`;
  }
  return `${begin}Find out with \`bwrap --unshare-all --ro-bind / / true\`, ${INSTEAD}.`;
}

interface Means {
  readonly disableUserNamespaces: boolean;
  readonly filter: Buffer | null;
}

/** Really starts a sandbox; resolves with null, or with what bwrap said. */
function tryOnce(program: string, { disableUserNamespaces, filter }: Means): Promise<string | null> {
  const spec: SandboxSpec = {
    dirs: { workspace: tmpdir(), home: tmpdir() },
    argv: [],
    env: {},
    mounts: [],
    writableWorkspace: true,
    gatewayDoorDir: null,
    limits: NO_LIMITS,
    name: "probe",
  };
  const words = [
    ...bwrapWords(spec, { disableUserNamespaces, filtersSyscalls: filter !== null, toolchains: NO_TOOLCHAINS }),
    "--",
    "/bin/sh",
    "-c",
    "exit 0",
  ];
  return new Promise((resolve) => {
    const ignored = Array<"ignore">(5).fill("ignore");
    const child = spawn(program, words, { env: {}, timeout: PROBE_TIMEOUT_MS, stdio: ["ignore", "ignore", "pipe", ...ignored, "pipe"] });
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-500)));
    const toFilter = (child.stdio as readonly (Readable | Writable | null | undefined)[])[8] as Writable;
    toFilter.on("error", () => {}).end(filter ?? ""); // it may have ended before it read this
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(code === 0 ? null : said.trim() || `it ended with ${signal ?? `code ${code}`}`));
  });
}

/**
 * Finds out what bwrap can do here. Forks without the spawner, since it comes before any: once, when the
 * server is still small.
 */
export async function probeBwrap(searchPath: readonly string[], readSwitches = readKernelSwitches): Promise<BwrapSupport> {
  if (process.platform !== "linux") {
    return { available: false, reason: "bubblewrap needs Linux, and so does Runyard's server, so far: run it there." };
  }
  const program = findProgram("bwrap", searchPath);
  if (program === null) {
    return { available: false, reason: `bubblewrap is not installed: install the package \`bubblewrap\`, ${INSTEAD}.` };
  }
  if (findProgram("socat", SYSTEM_PATH) === null) {
    return {
      available: false,
      reason: `socat is not installed, the only way out of a sandbox: install the package \`socat\`, ${INSTEAD}.`,
    };
  }
  const filter = syscallFilter(process.arch);
  // Only newer ones can forbid further user namespaces; a kernel may lack what that takes, or what a filter takes.
  const means = [filter, null].flatMap((taken) => [true, false].map((disableUserNamespaces) => ({ disableUserNamespaces, filter: taken })));
  const said: string[] = [];
  for (const each of means) {
    const problem = await tryOnce(program, each);
    if (problem === null) return { available: true, program, ...each };
    said.push(problem);
  }
  const telling = said.find((problem) => !/unknown option/i.test(problem)) ?? said.at(-1)!;
  return { available: false, reason: explainFailure(telling, readSwitches()) };
}
