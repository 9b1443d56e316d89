import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { containerConfig, grantedBy } from "./docker-container.ts";
import { type Engine, engineSockets, type EngineSupport, findHostPrograms, probeEngine, spokenVersion } from "./docker-probe.ts";
import type { SandboxSpec } from "./driver.ts";

const programs = findHostPrograms();
const whyNot = typeof programs === "string" ? programs : null;

it("looks for an engine where DOCKER_HOST says, else at the usual places", () => {
  expect(engineSockets({ DOCKER_HOST: "unix:///x/docker.sock", XDG_RUNTIME_DIR: "/run/user/7" })).toEqual(["/x/docker.sock"]);
  expect(engineSockets({ XDG_RUNTIME_DIR: "/run/user/7" })).toEqual([
    "/var/run/docker.sock",
    "/run/user/7/docker.sock",
    "/run/user/7/podman/podman.sock",
    "/run/podman/podman.sock",
  ]);
  expect(engineSockets({})).toEqual(["/var/run/docker.sock", "/run/podman/podman.sock"]);
  for (const host of ["tcp://10.0.0.1:2375", "ssh://box", "unix://"])
    expect(() => engineSockets({ DOCKER_HOST: host })).toThrow("only an engine of this machine");
});

it("speaks a version of the API that both sides know", () => {
  expect(spokenVersion("1.12", "1.41")).toBe("1.41");
  expect(spokenVersion("1.24", "1.40")).toBe("1.40");
  expect(spokenVersion("1.44", "1.52")).toBe("1.44");
  expect(spokenVersion(undefined, undefined)).toBe("1.41");
  expect(() => spokenVersion("1.12", "1.38")).toThrow("too old");
});

describe.skipIf(whyNot !== null)(`an engine that answers${whyNot === null ? "" : ` (skipped: ${whyNot})`}`, () => {
  let dir: string;
  let server: Server;
  let info: object;
  let version: object;
  let libpod: object;
  beforeEach(async () => {
    version = VERSION;
    dir = mkdtempSync(path.join(tmpdir(), "runyard-engine-"));
    server = createServer((request, response) => {
      const answers: Readonly<Record<string, object>> = { "/version": version, "/v1.44/info": info, "/v4.3.1/libpod/info": libpod };
      const answer = answers[request.url ?? ""] ?? { message: `no ${request.url}` };
      response.writeHead("message" in answer ? 404 : 200).end(JSON.stringify(answer));
    });
    await new Promise<void>((resolve) => server.listen(path.join(dir, "sock"), resolve));
  });
  afterEach(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });
  const VERSION = { Version: "29.0.1", ApiVersion: "1.52", MinAPIVersion: "1.44", Components: [{ Name: "Engine" }] };
  const look = (): Promise<EngineSupport> => probeEngine({ DOCKER_HOST: `unix://${dir}/sock` });

  it("says what it can", async () => {
    info = {
      SecurityOptions: ["name=apparmor", "name=seccomp,profile=builtin"],
      MemoryLimit: true,
      CpuCfsQuota: true,
      PidsLimit: true,
      NCPU: 4,
    };
    expect(await look()).toMatchObject({
      available: true,
      engine: {
        title: "Docker 29.0.1",
        apiVersion: "1.44",
        rootless: false,
        filtersSyscalls: true,
        limits: { memory: true, cpus: true, pids: true },
      },
    });
    info = { SecurityOptions: ["name=rootless"], NCPU: 4 };
    expect(await look()).toMatchObject({
      engine: { rootless: true, filtersSyscalls: false, limits: { memory: false, cpus: false, pids: false } },
    });
  });

  it("may be Podman, which has other words for what it cannot limit", async () => {
    info = { SecurityOptions: ["name=seccomp,profile=default"], Rootless: true, MemoryLimit: true, CpuCfsQuota: true, PidsLimit: true };
    version = { ...VERSION, Version: "4.3.1", Components: [{ Name: "Podman Engine", Details: { APIVersion: "4.3.1" } }] };
    libpod = { host: { cgroupControllers: ["memory", "pids"] } };
    expect(await look()).toMatchObject({
      engine: { title: "Podman 4.3.1", program: "podman", rootless: true, limits: { memory: true, cpus: false, pids: true } },
    });
    libpod = { host: { cgroupControllers: [] } };
    expect(await look()).toMatchObject({ engine: { limits: { memory: false, cpus: false, pids: false } } });
  });

  it("says what it refused, and what to do where nobody answers", async () => {
    info = { message: "out of order" };
    expect(await look()).toMatchObject({ available: false, reason: expect.stringContaining("cannot be used: out of order") });
    server.close();
    await new Promise((resolve) => server.once("close", resolve));
    const gone = await look();
    expect(gone).toMatchObject({
      available: false,
      reason: expect.stringMatching(/it is not running\. Install and start Docker or Podman, set/),
    });
    expect(existsSync(path.join(dir, "sock"))).toBe(false);
  });
});

describe("a container", () => {
  const engine: Engine = {
    socketPath: "/x",
    apiVersion: "1.41",
    title: "Docker 1",
    program: "docker",
    rootless: false,
    remapsUsers: false,
    filtersSyscalls: true,
    labels: "none",
    limits: { memory: true, cpus: true, pids: true },
    cpus: 2,
  };
  const spec: SandboxSpec = {
    dirs: { workspace: "/w", home: "/h" },
    argv: ["/bin/true", "x"],
    env: { TOKEN: "t" },
    mounts: [],
    writableWorkspace: false,
    gatewayDoorDir: null,
    limits: { memoryBytes: 1 << 30, cpus: 8, pids: 10, diskBytes: 1 },
    name: "step",
  };
  const made = (changes: Partial<Engine> = {}): Record<string, unknown> & { HostConfig: Record<string, unknown> } => {
    const parts = {
      engine: { ...engine, ...changes },
      programs: { loader: "/l/ld.so", libraries: "/l", socat: "/s", node: "/n" },
      nodeScript: "/script",
      image: "i",
      imageEnv: ["PATH=/opt/bin:/bin", "TOKEN=image"],
      owner: { uid: 1234, gid: 5 },
      homeId: "home",
    };
    return containerConfig(spec, parts);
  };

  it("is the workspace's owner, but where the engine makes root that one", () => {
    expect(made()["User"]).toBe("1234:5");
    expect(made({ rootless: true })["User"]).toBe("0:0");
    expect(made({ remapsUsers: true }).HostConfig["UsernsMode"]).toBe("host");
  });

  it("has the image's variables, and the run's before them", () => {
    expect(made()["Env"]).toEqual(["PATH=/opt/bin:/bin:/run/runyard/bin", "TOKEN=t", "PWD=/workspace"]);
  });

  it("keeps away from SELinux's labels, which host files do not have", () => {
    expect(made().HostConfig["SecurityOpt"]).toEqual(["no-new-privileges"]);
    expect(made({ labels: "selinux" }).HostConfig["SecurityOpt"]).toEqual(["no-new-privileges", "label=disable"]);
  });

  it("has the limits that the engine can keep, and is granted no others", () => {
    expect(made().HostConfig).toMatchObject({ Memory: 1 << 30, MemorySwap: 1 << 30, NanoCpus: 2e9, PidsLimit: 10 });
    const none = { memory: false, cpus: false, pids: false };
    for (const name of ["Memory", "MemorySwap", "NanoCpus", "PidsLimit"])
      expect(made({ limits: none }).HostConfig).not.toHaveProperty(name);
    expect(grantedBy({ ...engine, limits: none }, spec.limits)).toEqual({ memoryBytes: null, cpus: null, pids: null, diskBytes: null });
  });
});
