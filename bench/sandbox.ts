// What a sandbox costs by itself, without a server: its start, many at once, and the memory of an idle one.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, realpathSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { NO_LIMITS } from "../packages/runyard/src/sandbox/cgroup-grant.ts";
import { type PlainDriverName, sandboxDriver } from "../packages/runyard/src/sandbox/drivers.ts";
import { killRunDirectory } from "../packages/runyard/src/sandbox/kill.ts";
import { removeTree } from "../packages/runyard/src/sandbox/remove-tree.ts";
import { makeRunDirectory } from "../packages/runyard/src/sandbox/run-directory.ts";
import { openSpawner, type Spawner } from "../packages/runyard/src/sandbox/spawner.ts";
import { runStep } from "../packages/runyard/src/sandbox/step.ts";
import type { BenchContext } from "./lib/bench.ts";
import { findProcesses, memoryOf, treeOf } from "./lib/process.ts";
import { megabytes, ms, ratioAtMost, type Row } from "./lib/report.ts";
import { interleave, medianOf } from "./lib/stats.ts";

const STARTS = 30;
const AT_ONCE = 50;
const IDLE = 50;
const MEBIBYTE = 1 << 20;
const PROGRAMS = fileURLToPath(new URL("../packages/runyard/src/sandbox/programs/", import.meta.url));

interface Place {
  readonly root: string;
  readonly spawner: Spawner;
}

export async function benchSandbox(context: BenchContext): Promise<Row[]> {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-bench-sandbox-")));
  const [spawnerProgram, shimProgram] = ["spawner.sh", "shim.sh"].map((name) => path.join(PROGRAMS, name)) as [string, string];
  const spawner = await openSpawner({ dir: path.join(root, "spawner"), spawnerProgram, shimProgram });
  const place = { root, spawner };
  try {
    return [...(await startRows(context, place)), ...(await memoryRows(context, place))];
  } finally {
    await spawner.stop();
    removeTree(root);
  }
}

let count = 0;

/** What a driver says of how to start a command in a workspace of its own. */
async function prepared({ root }: Place, driver: PlainDriverName, argv: readonly string[]) {
  const place = path.join(root, `place-${(count += 1)}`);
  const dirs = { workspace: path.join(place, "workspace"), home: path.join(place, "home") };
  for (const dir of Object.values(dirs)) mkdirSync(dir, { recursive: true });
  const spec = { dirs, argv, env: {}, mounts: [], writableWorkspace: true, gatewayDoorDir: null, limits: NO_LIMITS };
  const { launch } = await sandboxDriver(driver).prepare({ ...spec, name: `bench-${process.pid}-${count}` });
  return { launch, dir: path.join(place, "step") };
}

/** Start to end of `true`, in milliseconds, in a driver's sandbox: prepared, started and waited for as the runner does. */
async function runTrue(place: Place, driver: PlainDriverName): Promise<number> {
  const begunAt = performance.now();
  const { launch, dir } = await prepared(place, driver, ["/bin/true"]);
  const { code } = await runStep({ spawner: place.spawner, dir, launch, timeoutMs: 60_000 });
  if (code !== 0) throw new Error(`/bin/true ended with ${code} under ${driver}`);
  return performance.now() - begunAt;
}

async function bareTrue(): Promise<number> {
  const begunAt = performance.now();
  await once(spawn("/bin/true", { stdio: "ignore" }), "exit");
  return performance.now() - begunAt;
}

/** bwrap itself with the words that the driver gives it, without spawner, shim and control groups. */
async function bareBwrap(place: Place): Promise<number> {
  const { launch } = await prepared(place, "bwrap", ["/bin/true"]);
  const [program = "", , , , ...command] = launch.argv;
  const words = launch.args.filter((_, i) => launch.args[i] !== "--seccomp" && launch.args[i - 1] !== "--seccomp");
  const begunAt = performance.now();
  const [code] = (await once(spawn(program, [...words, "--", ...command], { stdio: "ignore", env: {} }), "exit")) as [number | null];
  if (code !== 0) throw new Error(`bwrap ended with ${code}`);
  return performance.now() - begunAt;
}

/** Milliseconds for each of many that are started at once, until the last has ended. */
async function atOnce(many: number, one: () => Promise<number>): Promise<number> {
  const begunAt = performance.now();
  await Promise.all(Array.from({ length: many }, one));
  return performance.now() - begunAt;
}

async function startRows(context: BenchContext, place: Place): Promise<Row[]> {
  const many = Math.max(4, context.count(AT_ONCE));
  const load = (): string => `load ${loadavg()[0]?.toFixed(1)}`;
  const single = await interleave(context.count(STARTS), {
    driver: () => runTrue(place, "bwrap"),
    process: () => runTrue(place, "process"),
    bwrap: () => bareBwrap(place),
    bare: bareTrue,
  });
  const of = (name: keyof typeof single): number => medianOf(single[name], (value) => value);
  const loadThen = load();
  const parallel = await interleave(context.rounds, {
    many: () => atOnce(many, () => runTrue(place, "bwrap")),
    one: () => runTrue(place, "bwrap"),
  });
  const [all, one] = [medianOf(parallel.many, (value) => value), medianOf(parallel.one, (value) => value)];
  const row = (item: string, candidate: number, floor: number, target: Row["target"]): Row => ({
    bench: "sandbox",
    item: `${item} (${loadThen})`,
    candidate: ms(candidate),
    floor: ms(floor),
    ratio: candidate / floor,
    target,
  });
  return [
    row("`true` in a sandbox, by the driver; floor: bare `true`", of("driver"), of("bare"), ratioAtMost(10, of("driver") / of("bare"))),
    row("of it, bwrap alone; floor: bare `true`", of("bwrap"), of("bare"), null),
    row("the same by the driver `process`, which has spawner and shim; floor: bare `true`", of("process"), of("bare"), null),
    row(`${many} sandboxes at once, each (${cpus().length} cores); floor: one alone`, all / many, one, ratioAtMost(3, all / many / one)),
    row(`${many} sandboxes at once, until the last has ended; floor: one alone`, all, one, null),
  ];
}

async function memoryRows(context: BenchContext, place: Place): Promise<Row[]> {
  const many = Math.max(4, context.count(IDLE));
  const dirs: string[] = [];
  for (let n = 0; n < many; n += 1) {
    const { launch, dir } = await prepared(place, "bwrap", ["/bin/sleep", "1000"]);
    makeRunDirectory(dir, launch, {});
    await place.spawner.start(dir);
    dirs.push(dir);
  }
  try {
    await sleep(1_000);
    const pids = [...new Set(findProcesses(place.root, "shim.sh").flatMap(treeOf))];
    const pss = pids.reduce((sum, pid) => sum + memoryOf(pid).pss, 0) / many;
    const target = { text: "≤ 1.5 MB", met: pss <= 1.5 * MEBIBYTE };
    const item = `an idle sandbox with its shim (of ${many}, ${(pids.length / many).toFixed(1)} processes each)`;
    return [{ bench: "sandbox", item, candidate: `${megabytes(pss)} PSS`, floor: "", ratio: null, target }];
  } finally {
    for (const dir of dirs) await killRunDirectory(dir);
  }
}
