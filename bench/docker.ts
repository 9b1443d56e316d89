// From the wish for a sandbox to the first byte of its command, in a container: by the driver, and by `docker run` with
// the same options. On an engine that the bench starts and ends.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { homeAt } from "../packages/runyard/src/home.ts";
import { installRuntime } from "../packages/runyard/src/runtime/index.ts";
import { dockerDriver } from "../packages/runyard/src/sandbox/docker-driver.ts";
import { killRunDirectory } from "../packages/runyard/src/sandbox/kill.ts";
import { makeRunDirectory, watchRunDirectory } from "../packages/runyard/src/sandbox/run-directory.ts";
import { readStepOutput } from "../packages/runyard/src/sandbox/step.ts";
import { openSpawner } from "../packages/runyard/src/sandbox/spawner.ts";
import { openTestEngine, type TestEngine, whyNoEngineHere } from "../packages/runyard/src/testing/container-engine.ts";
import type { BenchContext } from "./lib/bench.ts";
import { ms, ratioAtMost, type Row } from "./lib/report.ts";
import { interleave, quantile } from "./lib/stats.ts";

const STARTS = 30;
const SCRIPT = ["sh", "-c", "echo up; exec sleep 600"];
const LIMITS = { memoryBytes: 1 << 30, cpus: 1, pids: 256, diskBytes: null };

export async function benchDocker(context: BenchContext): Promise<Row[]> {
  const whyNot = whyNoEngineHere();
  if (whyNot !== null) {
    context.say(`docker: skipped, ${whyNot}`);
    return [];
  }
  const root = mkdtempSync(path.join(tmpdir(), "runyard-bench-docker-"));
  const engine = await openTestEngine();
  process.env["DOCKER_HOST"] = engine.host;
  const { containerProgram, containerNode, spawnerProgram, shimProgram } = await installRuntime({ home: homeAt(path.join(root, "home")) });
  const driver = dockerDriver({ containerProgram, containerNode, homeId: root });
  const spawner = await openSpawner({ dir: path.join(root, "spawner"), spawnerProgram, shimProgram });
  let serial = 0;
  const dirs = { workspace: path.join(root, "workspace"), home: path.join(root, "agent-home") };
  for (const dir of Object.values(dirs)) mkdirSync(dir);

  const byDriver = async (): Promise<number> => {
    const name = `bench-${(serial += 1)}`;
    const dir = path.join(root, name);
    const begunAt = performance.now();
    const spec = { name, dirs, argv: SCRIPT, env: {}, mounts: [], writableWorkspace: true, gatewayDoorDir: null, limits: LIMITS };
    const { launch } = await driver.prepare({ ...spec, image: engine.image });
    makeRunDirectory(dir, launch, {});
    await spawner.start(dir);
    await new Promise<void>((resolve) => {
      const watcher = watchRunDirectory(dir, () => {
        if (readStepOutput(dir, 100).stdout === "") return;
        watcher.close();
        resolve();
      });
    });
    const took = performance.now() - begunAt;
    await killRunDirectory(dir);
    return took;
  };
  try {
    const times = await interleave(context.count(STARTS), { driver: byDriver, cli: () => byCli(engine, dirs.workspace) });
    const [mine, floor] = [quantile(times.driver, 0.5), quantile(times.cli, 0.5)];
    const row = (item: string, a: number, b: number, target: Row["target"]): Row => ({
      bench: "docker",
      item,
      candidate: ms(a),
      floor: ms(b),
      ratio: a / b,
      target,
    });
    return [
      row(
        `a container to its first byte, p50 of ${times.driver.length}; floor: \`docker run\``,
        mine,
        floor,
        ratioAtMost(1.3, mine / floor),
      ),
      row("the same, p95", quantile(times.driver, 0.95), quantile(times.cli, 0.95), null),
    ];
  } finally {
    await spawner.stop();
    await engine.close();
    rmSync(root, { recursive: true, force: true });
  }
}

/** The same container by the engine's own command line. */
async function byCli(engine: TestEngine, workspace: string): Promise<number> {
  const env = { DOCKER_HOST: engine.host, PATH: process.env["PATH"] ?? "", HOME: workspace };
  const limits = ["--memory", "1g", "--memory-swap", "1g", "--cpus", "1", "--pids-limit", "256"];
  const rights = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/tmp", "--network", "none"];
  const words = ["run", "--rm", "--interactive", "--init", "--log-driver", "none", "--name", "bench", ...limits, ...rights];
  const begunAt = performance.now();
  const child = spawn(engine.cli, [...words, "--volume", `${workspace}:/workspace`, engine.image, ...SCRIPT], { env });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`docker run ended with ${code}`)));
  });
  const took = performance.now() - begunAt;
  execFileSync(engine.cli, ["rm", "--force", "bench"], { env, stdio: "ignore" });
  await gone;
  return took;
}
