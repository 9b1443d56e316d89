// The driver `docker` for a server that is an ordinary user: in the group of Docker's socket, and with a Podman of its own.
import { execFile } from "node:child_process";
import { chmodSync, chownSync, existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { openTestEngine, whyNoTestEngine } from "../testing/container-engine.ts";
import { openPodman, ORDINARY_USER } from "../testing/podman-engine.ts";

const PROGRAM = fileURLToPath(new URL("testing/container-as-user.ts", import.meta.url));
/** A group that only the user of the tests is in. */
const GROUP = 4322;
const unavailable = whyNoTestEngine() ?? whyNoTestEngine("podman");

async function asUser(host: string, image: string, groups: readonly string[]): Promise<unknown> {
  const user = `${ORDINARY_USER}`;
  const words = [
    "--reuid",
    user,
    "--regid",
    user,
    ...groups,
    process.execPath,
    "--import",
    "tsx",
    "--conditions=runyard-source",
    PROGRAM,
    image,
  ];
  const env = { PATH: process.env["PATH"], DOCKER_HOST: host, HOME: "/nonexistent" };
  const cwd = fileURLToPath(new URL("../../../..", import.meta.url));
  return JSON.parse((await promisify(execFile)("setpriv", words, { env, cwd })).stdout) as unknown;
}

describe.skipIf(unavailable !== null)(
  `a server that is an ordinary user${unavailable === null ? "" : ` (skipped: ${unavailable})`}`,
  () => {
    const whole = {
      result: { code: 0, stderr: expect.stringContaining("Read-only file system") as string },
      owners: [ORDINARY_USER, ORDINARY_USER],
      ended: true,
    };

    it("uses Docker where it is in the group of its socket: inside it is that user, and the files are its own", async () => {
      const engine = await openTestEngine();
      onTestFinished(() => engine.close());
      chmodSync(path.dirname(engine.socketPath), 0o711);
      chmodSync(engine.socketPath, 0o660);
      chownSync(engine.socketPath, 0, GROUP);
      expect(await asUser(engine.host, engine.image, ["--clear-groups"])).toMatchObject({
        probe: { available: false, reason: expect.stringContaining("is not open to this user: add the user to its group") as string },
      });
      const told = await asUser(engine.host, engine.image, ["--groups", `${GROUP}`]);
      expect(told).toMatchObject({ ...whole, probe: { available: true } });
      expect(told).toMatchObject({ result: { stdout: `${ORDINARY_USER}\nrefused\n` } });
    });

    it("uses a rootless Podman: inside it is root, and outside the files are its own", async () => {
      const engine = await openPodman({ rootless: true });
      onTestFinished(() => engine.close());
      const told = await asUser(engine.host, engine.image, ["--clear-groups"]);
      expect(told).toMatchObject({ ...whole, probe: { available: true } });
      // Control groups of version 1 are given to no ordinary user: no limit may be told that nobody keeps.
      if (!existsSync("/sys/fs/cgroup/cgroup.controllers"))
        expect(told).toMatchObject({ probe: { limits: { memory: false, cpus: false, pids: false } } });
      expect(told).toMatchObject({ result: { stdout: "0\nrefused\n" } });
    });
  },
);
