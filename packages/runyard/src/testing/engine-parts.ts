import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { askEngine } from "../sandbox/docker-engine.ts";
import { TOOL_AGENT } from "./tool-agent.ts";

/** The engines that tests start: of Docker, and of Podman as root and as an ordinary user. */
export type EngineKind = "docker" | "podman";

/** A container engine for one test file, with a small image of Debian. */
export interface TestEngine {
  readonly socketPath: string;
  /** For `DOCKER_HOST`. */
  readonly host: string;
  /** The engine's own command line. */
  readonly cli: string;
  /** Has a shell, the usual tools and git, and no node. */
  readonly image: string;
  /** Ends the engine at once, as a crash does; what runs in containers may live on. */
  crash(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

export const TEST_IMAGE = "runyard-test:1";
const START_TIMEOUT_MS = 30_000;
const CACHE = fileURLToPath(new URL("../../../../.runyard-setup-engine/", import.meta.url));
/** Unpacked beside each other and never installed: this machine stays as it is. */
const ENGINE_PACKAGES: Readonly<Record<EngineKind, readonly string[]>> = {
  docker: ["docker.io", "containerd", "runc", "tini", "libdevmapper1.02.1"],
  podman:
    "podman conmon runc catatonit uidmap golang-github-containers-common golang-github-containers-image libgpgme11 libassuan0 libsubid4 libdevmapper1.02.1".split(
      " ",
    ),
};
const IMAGE_PACKAGES = [
  ..."libc6 dash coreutils libselinux1 libpcre2-8-0 zlib1g git sed grep findutils libacl1 libattr1 libgmp10 libssl3 tar util-linux".split(
    " ",
  ),
  // What a sandbox is attacked with.
  ..."bsdutils libblkid1 libcrypt1 libmount1 libreadline8 libsmartcols1 libtinfo6 libwrap0 mount perl-base socat".split(" "),
];

/** Why no engine is tried in this run of the tests; null: one is. */
export function whyNoTestEngine(kind: EngineKind = "docker"): string | null {
  return process.env["RUNYARD_TEST_FULL"] ? whyNoEngineHere(kind) : "only in the full tests (npm run test:full)";
}

/** Why no engine can be started here; null: one can. */
export function whyNoEngineHere(kind: EngineKind = "docker"): string | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "starting a container engine for a test takes Linux and root";
  try {
    execFileSync("unshare", ["-mn", "true"], { stdio: "ignore" });
    engineFiles(kind);
    unpack("image", IMAGE_PACKAGES);
    return null;
  } catch (error) {
    return `no container engine could be had: ${(error as Error).message.split("\n")[0]}`;
  }
}

/** Where an engine of that kind is unpacked. */
export function engineFiles(kind: EngineKind): string {
  return unpack(kind === "docker" ? "engine" : kind, ENGINE_PACKAGES[kind]);
}

/** The files of Debian packages, fetched once. */
function unpack(name: string, packages: readonly string[]): string {
  const dir = path.join(CACHE, `${name}-${createHash("sha256").update(packages.join()).digest("hex").slice(0, 8)}`);
  if (existsSync(dir)) return dir;
  mkdirSync(CACHE, { recursive: true });
  const fresh = mkdtempSync(path.join(CACHE, "new-"));
  execFileSync("apt-get", ["download", "-qq", ...packages], { cwd: fresh, stdio: ["ignore", "ignore", "pipe"] });
  execFileSync("sh", ["-c", "for file in *.deb; do dpkg -x $file files || exit; done"], {
    cwd: fresh,
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (!existsSync(dir)) renameSync(path.join(fresh, "files"), dir);
  rmSync(fresh, { recursive: true, force: true });
  return dir;
}

export interface Daemon {
  readonly pid: number;
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Starts a process that serves; `log` is where it says what it does. */
export function startDaemon(words: readonly string[], files: string, log: string): Daemon {
  const out = openSync(log, "a");
  const PATH = `${files}/usr/sbin:${files}/usr/bin:${process.env["PATH"] ?? ""}`;
  const child = spawn(words[0]!, words.slice(1), { stdio: ["ignore", out, out], env: { PATH } });
  closeSync(out);
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    pid: child.pid!,
    async end(signal) {
      child.kill(signal);
      await gone;
    },
  };
}

/** Whether an engine listens there. */
export async function answers(socketPath: string): Promise<boolean> {
  return (await askEngine({ socketPath }, { method: "GET", path: "/_ping" }).catch(() => null))?.status === 200;
}

/** Waits until `check` is true; throws with what the engine has logged. */
export async function waitForEngine(check: () => boolean | Promise<boolean>, log: string): Promise<void> {
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; await sleep(50)) if (await check()) return;
  throw new Error(`The engine did not start: ${readFileSync(log, "utf8").slice(-2000)}`);
}

/** Removes all containers of an engine. */
export async function removeAll(socketPath: string): Promise<void> {
  const all = await askEngine({ socketPath }, { method: "GET", path: "/containers/json?all=1" }).catch(() => null);
  for (const { Id: id } of (all?.body ?? []) as { Id: string }[])
    await askEngine({ socketPath }, { method: "DELETE", path: `/containers/${id}?force=1&v=1` });
}

/** Gives an engine the image. */
export async function importImage(kind: EngineKind, socketPath: string): Promise<void> {
  const dir = unpack("image", IMAGE_PACKAGES);
  writeShell(dir);
  const [repo, tag] = TEST_IMAGE.split(":");
  const tar = spawn("tar", ["-C", dir, "-c", "."], { stdio: ["ignore", "pipe", "inherit"] });
  // Podman does without `tag`, and Docker has none in `repo`.
  const name = kind === "podman" ? { repo: TEST_IMAGE } : { repo: repo!, tag: tag! };
  const changes = new URLSearchParams({ fromSrc: "-", ...name, changes: "ENV OF_IMAGE=yes" });
  await new Promise<void>((resolve, reject) => {
    const asked = request(
      { socketPath, method: "POST", path: `/images/create?${changes.toString()}`, headers: { host: "engine" } },
      (response) => {
        let said = "";
        response.setEncoding("utf8").on("data", (text: string) => (said += text));
        response.on("end", () => (response.statusCode === 200 && !said.includes('"error"') ? resolve() : reject(new Error(said))));
      },
    );
    asked.on("error", reject);
    tar.stdout.pipe(asked);
  });
}

/** What the packages' own scripts would make, and an agent, `image-agent`. */
function writeShell(dir: string): void {
  for (const name of ["tmp", "root", "etc"]) mkdirSync(path.join(dir, name), { recursive: true });
  writeFileSync(path.join(dir, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  if (!existsSync(path.join(dir, "bin/sh"))) execFileSync("ln", ["-s", "dash", path.join(dir, "bin/sh")]);
  mkdirSync(path.join(dir, "usr/local/bin"), { recursive: true });
  writeFileSync(path.join(dir, "usr/local/bin/image-agent"), `#!/usr/bin/env node\n${TOOL_AGENT}`, { mode: 0o755 });
}
