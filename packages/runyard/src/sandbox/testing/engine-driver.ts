import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { homeAt } from "../../home.ts";
import { installRuntime } from "../../runtime/index.ts";
import { type EngineKind, openTestEngine, type TestEngine, whyNoTestEngine } from "../../testing/container-engine.ts";
import { dockerDriver } from "../docker-driver.ts";
import type { SandboxDriver } from "../driver.ts";
import type { Isolating } from "./abuse-suite.ts";

/** The driver `docker` on an engine of the test's own, with its image; its home is `homeId`. */
export interface EngineDriver {
  readonly driver: SandboxDriver;
  readonly engine: TestEngine;
  readonly homeId: string;
  close(): Promise<void>;
}

/** Starts an engine, and has this process use it. */
export async function openEngineDriver(kind: EngineKind): Promise<EngineDriver> {
  const home = mkdtempSync(path.join(tmpdir(), `runyard-${kind}-`));
  const engine = await openTestEngine(kind);
  process.env["DOCKER_HOST"] = engine.host;
  const { containerProgram, containerNode } = await installRuntime({ home: homeAt(home) });
  const made = dockerDriver({ containerProgram, containerNode, homeId: home });
  return {
    driver: { ...made, prepare: (spec) => made.prepare({ image: engine.image, ...spec }) },
    engine,
    homeId: home,
    close: async () => {
      await engine.close();
      rmSync(home, { recursive: true });
    },
  };
}

/** A container has the image's `/root` and the like, and a `/dev` of its own in memory. */
export function containerAbuse(kind: EngineKind): Isolating {
  const hostPlaces = ["/etc/shadow", "/etc/ssl/private", "/boot/grub", "/srv/x", "/var/lib/dpkg/status"].filter((place) =>
    existsSync(place),
  );
  return { name: kind, whyNot: whyNoTestEngine(kind), hostPlaces, ownPlaces: ["/dev"], open: () => openEngineDriver(kind) };
}
