import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { processesWith } from "../sandbox/testing/processes.ts";
import {
  answers,
  type Daemon,
  engineFiles,
  importImage,
  removeAll,
  startDaemon,
  TEST_IMAGE,
  type TestEngine,
  waitForEngine,
} from "./engine-parts.ts";

/** An ordinary user of the tests, which this machine need not know. */
export const ORDINARY_USER = 4321;

/**
 * Podman knows its files by fixed places: they are laid over this machine's, seen by it alone. `$2` is there once
 * that is done.
 */
const LAY_OVER = `mount --make-rprivate /
mount -t overlay -o "lowerdir=$1/usr:/usr" overlay /usr && mount -t overlay -o "lowerdir=$1/etc:/etc" overlay /etc || exit
`;
const STAY = ': >"$2"; exec sleep infinity';

/** Adds a user to this machine's, as Podman sees it, who may have other users in a user namespace. */
const ADD_USER = `mkdir -p "$4/etc" "$4/home" "$4/xdg" && cp /etc/passwd "$4/etc/" && echo "engine:x:$3:$3::$4/home:/bin/sh" >>"$4/etc/passwd"
echo "engine:400000:65536" >"$4/etc/subuid" && cp "$4/etc/subuid" "$4/etc/subgid" || exit
chmod 711 "$4" && chown "$3:$3" "$4/home" "$4/xdg" && chmod 700 "$4/xdg"
mount -t overlay -o "lowerdir=$4/etc:/etc" overlay /etc || exit
`;

/** Podman gives a container more open files and processes than root may give in a machine that has taken CAP_SYS_RESOURCE from it. */
const RUNTIME = `#!/bin/sh
last=
for word in "$@"; do
  case $last in --bundle) sed -i 's/\\("type":"RLIMIT_N[A-Z]*",\\)"hard":1048576,"soft":1048576/\\1"hard":4096,"soft":4096/g' "$word/config.json" ;; esac
  last=$word
done
exec runc "$@"
`;

/** Ends the process by which a rootless Podman keeps its namespaces. */
function endPause(file: string): void {
  if (existsSync(file)) process.kill(Number(readFileSync(file, "utf8")), "SIGKILL");
}

/**
 * Starts Podman's service in network and mount namespaces of its own, so that nothing of this machine's changes: as
 * root, or rootless, for the ordinary user.
 */
export async function openPodman({ rootless = false } = {}): Promise<TestEngine> {
  const files = engineFiles("podman");
  const root = mkdtempSync(path.join(tmpdir(), "runyard-podman-"));
  const socketPath = path.join(root, rootless ? "xdg/podman.sock" : "podman.sock");
  const [log, ready] = [path.join(root, "log"), path.join(root, "ready")];
  const place = startDaemon(
    ["unshare", "-mn", "sh", "-c", LAY_OVER + (rootless ? ADD_USER : "") + STAY, "sh", files, ready, `${ORDINARY_USER}`, root],
    files,
    log,
  );
  const user = `${ORDINARY_USER}`;
  const asUser = [
    "setpriv",
    "--reuid",
    user,
    "--regid",
    user,
    "--clear-groups",
    "env",
    `HOME=${root}/home`,
    `XDG_RUNTIME_DIR=${root}/xdg`,
    "STORAGE_DRIVER=overlay",
  ];
  const inside = ["nsenter", "--target", String(place.pid), "--mount", "--net", ...(rootless ? asUser : [])];
  const where = rootless
    ? []
    : ["--root", `${root}/data`, "--runroot", `${root}/run`, "--tmpdir", `${root}/tmp`, "--network-config-dir", `${root}/net`];
  const runtime = path.join(root, "runtime");
  writeFileSync(runtime, RUNTIME, { mode: 0o755 });
  const podman = [...inside, "podman", ...where, "--runtime", runtime, "--cgroup-manager", "cgroupfs", "--events-backend", "file"];
  let service: Daemon | null = null;

  const start = async (): Promise<void> => {
    await waitForEngine(() => existsSync(ready), log);
    rmSync(socketPath, { force: true });
    service = startDaemon([...podman, "system", "service", "--time", "0", `unix://${socketPath}`], files, log);
    await waitForEngine(() => answers(socketPath), log);
  };
  const crash = async (): Promise<void> => service?.end("SIGKILL");
  const close = async (): Promise<void> => {
    if (!(await answers(socketPath))) await start().catch(() => undefined);
    await removeAll(socketPath);
    await service?.end("SIGKILL");
    for (const pid of processesWith(socketPath)) process.kill(pid, "SIGKILL"); // a rootless one is two processes
    if (rootless) endPause(path.join(root, "xdg/libpod/tmp/pause.pid"));
    await place.end("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  };
  try {
    await start();
    await importImage("podman", socketPath);
  } catch (error) {
    await close();
    throw error;
  }
  return { socketPath, host: `unix://${socketPath}`, cli: path.join(files, "usr/bin/podman"), image: TEST_IMAGE, crash, start, close };
}
