import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll } from "vitest";
import { homeAt } from "../home.ts";
import { installRuntime } from "../runtime/index.ts";
import { openTestEngine, type TestEngine, whyNoTestEngine } from "../testing/container-engine.ts";
import { dockerDriver } from "./docker-driver.ts";
import type { SandboxDriver } from "./driver.ts";
import { testDriver } from "./testing/driver-contract.ts";

const unavailable = whyNoTestEngine();
const home = mkdtempSync(path.join(tmpdir(), "runyard-docker-"));
let engine: TestEngine;
let made: SandboxDriver = dockerDriver({ containerProgram: "", containerNode: "", homeId: home });
const driver: SandboxDriver = { ...made, prepare: (spec) => made.prepare({ image: engine.image, ...spec }) };

beforeAll(async () => {
  if (unavailable !== null) return;
  engine = await openTestEngine();
  process.env["DOCKER_HOST"] = engine.host;
  const { containerProgram, containerNode } = await installRuntime({ home: homeAt(home) });
  made = dockerDriver({ containerProgram, containerNode, homeId: home });
});
afterAll(async () => {
  await engine?.close();
  rmSync(home, { recursive: true });
});

testDriver(driver, { isolates: true, whyNot: unavailable, adds: ["HOME", "HOSTNAME", "OF_IMAGE"] });
