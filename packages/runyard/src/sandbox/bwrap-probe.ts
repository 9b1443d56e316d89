import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { bwrapWords } from "./bwrap-words.ts";
import { NO_LIMITS } from "./cgroup-grant.ts";
import type { SandboxSpec } from "./driver.ts";
import { findProgram, SYSTEM_PATH } from "./toolchains.ts";

/** What bwrap can do on this machine. */
export type BwrapSupport =
  | { readonly available: true; readonly program: string; readonly disableUserNamespaces: boolean }
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

/** Really starts a sandbox; resolves with null, or with what bwrap said. */
function tryOnce(program: string, disableUserNamespaces: boolean): Promise<string | null> {
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
  const words = [...bwrapWords(spec, { disableUserNamespaces }), "--", "/bin/sh", "-c", "exit 0"];
  return new Promise((resolve) => {
    execFile(program, words, { env: {}, timeout: PROBE_TIMEOUT_MS }, (error, _stdout, stderr) => {
      resolve(error === null ? null : stderr.trim().slice(-500) || error.message.slice(0, 500));
    });
  });
}

/**
 * Finds out what bwrap can do here. Forks without the spawner, since it comes before any: once, when the
 * server is still small.
 */
export async function probeBwrap(searchPath: readonly string[], readSwitches = readKernelSwitches): Promise<BwrapSupport> {
  if (process.platform !== "linux") {
    return { available: false, reason: `bubblewrap needs Linux: choose the driver \`process\`, which does not isolate.` };
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
  let said = await tryOnce(program, true);
  if (said === null) return { available: true, program, disableUserNamespaces: true };
  // Only newer ones can forbid further user namespaces; a kernel may lack what it takes.
  const before = said;
  said = await tryOnce(program, false);
  if (said === null) return { available: true, program, disableUserNamespaces: false };
  return { available: false, reason: explainFailure(/unknown option/i.test(before) ? said : before, readSwitches()) };
}
