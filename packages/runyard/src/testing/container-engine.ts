import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  answers,
  type Daemon,
  engineFiles,
  type EngineKind,
  importImage,
  removeAll,
  startDaemon,
  TEST_IMAGE,
  type TestEngine,
  waitForEngine,
} from "./engine-parts.ts";
import { openPodman } from "./podman-engine.ts";

export { type EngineKind, type TestEngine, whyNoEngineHere, whyNoTestEngine } from "./engine-parts.ts";

export function openTestEngine(kind: EngineKind = "docker"): Promise<TestEngine> {
  return kind === "docker" ? openDocker() : openPodman();
}

/** Starts Docker in network and mount namespaces of its own, so that nothing of this machine's changes. */
async function openDocker(): Promise<TestEngine> {
  const files = engineFiles("docker");
  const root = mkdtempSync(path.join(tmpdir(), "runyard-engine-"));
  const socketPath = path.join(root, "docker.sock");
  const log = path.join(root, "log");
  const ping = (): Promise<boolean> => answers(socketPath);
  const waitFor = (check: () => boolean | Promise<boolean>): Promise<void> => waitForEngine(check, log);

  // A process of its own, so that the engine can be killed and come back.
  const containerdSocket = path.join(root, "containerd.sock");
  const config = [
    "version = 2",
    `root = "${root}/containerd/root"`,
    `state = "${root}/containerd/state"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    "[grpc]",
    `address = "${containerdSocket}"`,
  ];
  writeFileSync(path.join(root, "containerd.toml"), config.join("\n"));
  const containerd = startDaemon(["unshare", "-mn", "containerd", "--config", path.join(root, "containerd.toml")], files, log);
  let dockerd: Daemon | null = null;

  const start = async (): Promise<void> => {
    await waitFor(() => existsSync(containerdSocket));
    for (const name of ["pid", "docker.sock"]) rmSync(path.join(root, name), { force: true });
    const where = ["--data-root", `${root}/data`, "--exec-root", `${root}/exec`, "-p", `${root}/pid`, "-H", `unix://${socketPath}`];
    const network = ["--iptables=false", "--ip6tables=false", "--bridge=none"];
    const inside = ["nsenter", "--target", String(containerd.pid), "--mount", "--net"];
    dockerd = startDaemon([...inside, "dockerd", ...where, ...network, "--containerd", containerdSocket], files, log);
    await waitFor(ping);
  };
  const close = async (): Promise<void> => {
    if (!(await ping())) await start().catch(() => undefined);
    await removeAll(socketPath);
    await dockerd?.end("SIGTERM");
    await containerd.end("SIGTERM");
    rmSync(root, { recursive: true, force: true });
  };

  try {
    await start();
    await importImage("docker", socketPath);
  } catch (error) {
    await close();
    throw error;
  }
  const crash = async (): Promise<void> => dockerd?.end("SIGKILL");
  return { socketPath, host: `unix://${socketPath}`, cli: path.join(files, "usr/bin/docker"), image: TEST_IMAGE, crash, start, close };
}
