// How long a run waits for its workspace: made of the cache beside a plain clone, and of a snapshot beside its set-up.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, watch, writeFileSync } from "node:fs";
import path from "node:path";
import type { RunEvent, SetupRequest } from "@runyard/sdk/contract";
import { holderLaunch, overlaySupport } from "../packages/runyard/src/sandbox/overlay.ts";
import type { BenchContext } from "./lib/bench.ts";
import { type BenchHome, type BenchServer, withHome } from "./lib/home.ts";
import { makeLargeRepository } from "./lib/large-repository.ts";
import { ms, ratioAtLeast, type Row } from "./lib/report.ts";
import { createRun, followRun, trivialRun } from "./lib/runs.ts";
import { interleave, medianOf } from "./lib/stats.ts";

/** As large as the one that the targets were set with: as many commits and files, 68 MB of them, and 174 MB of objects. */
const HISTORY = { commits: 17_750, files: 3_093, bytes: 22_000, changed: 6 };
/** Files of the package that set-up installs, and bytes of each: a usual folder of dependencies. */
const PACKAGE = { files: 6_900, bytes: 17_000 };

export async function benchWorkspace(context: BenchContext): Promise<Row[]> {
  return withHome(context.program, (home) => measure(context, home));
}

async function measure(context: BenchContext, home: BenchHome): Promise<Row[]> {
  const root = path.dirname(home.home.root);
  context.say("workspace: making a large history");
  const more = { ".gitignore": "node_modules/\n", ...packageFiles(path.join(root, "package"), context.count(PACKAGE.files)) };
  const large = await makeLargeRepository(root, { ...HISTORY, commits: context.count(HISTORY.commits), more });
  const server = await home.up();
  const setup: SetupRequest = { commands: ["npm ci --offline --no-audit --no-fund"] };
  const keyed: SetupRequest = { ...setup, cacheKey: "bench" };
  // The first one fills the cache, and makes the snapshot.
  await prepared(server, large, keyed);
  const clone = path.join(root, "clone");
  const measured = await interleave(context.rounds, {
    clone: async () => {
      rmSync(clone, { recursive: true, force: true });
      const begunAt = performance.now();
      execFileSync("git", ["clone", "--quiet", `file://${large}`, clone]);
      return { ready: performance.now() - begunAt, setup: Number.NaN };
    },
    shared: async () => {
      rmSync(clone, { recursive: true, force: true });
      const begunAt = performance.now();
      execFileSync("git", ["clone", "--quiet", "--shared", large, clone]);
      return { ready: performance.now() - begunAt, setup: Number.NaN };
    },
    mount: () => mounted(home.home),
    // Without the checkout that runs before have left, it is made anew.
    first: () => {
      rmSync(home.home.basesDir, { recursive: true, force: true });
      return prepared(server, large);
    },
    warm: () => prepared(server, large),
    setup: () => prepared(server, large, setup),
    // The first of a checkout looks at what it ignores of the snapshot; `first` took away what was known of that.
    fit: () => prepared(server, large, keyed),
    hit: () => prepared(server, large, keyed),
  });
  const of = (name: keyof typeof measured): number => medianOf(measured[name], (one) => one.ready);
  const commands = medianOf(measured.setup, (one) => one.setup);
  const row = (item: string, candidate: number, floor: number, judge: number | null): Row => {
    const ratio = floor / candidate;
    const target = judge === null ? null : ratioAtLeast(judge, ratio);
    return { bench: "workspace", item, candidate: ms(candidate), floor: ms(floor), ratio, target };
  };
  return [
    row("claim to a workspace that is ready, upon a checkout that is there; floor: git clone file://", of("warm"), of("clone"), 500),
    row(
      "of it, the overlay mounted and held, which is what the target was set with; floor: git clone file://",
      of("mount"),
      of("clone"),
      500,
    ),
    row("claim to a workspace with a checkout of its own, of a warm cache; floor: git clone file://", of("first"), of("clone"), 25),
    row("what git itself comes to there: git clone --shared; floor: git clone file://", of("shared"), of("clone"), null),
    row("claim to a workspace upon a snapshot; floor: with its set-up (npm ci)", of("hit"), of("setup"), 100),
    row("the same for the first run of this checkout upon this snapshot", of("fit"), of("setup"), null),
    { bench: "workspace", item: "of it, the commands of the set-up", candidate: "", floor: ms(commands), ratio: null, target: null },
  ];
}

/** Mounts a workspace upon the checkout that is there, as a run's holder does, and ends that again. */
async function mounted({ root, basesDir }: Pick<BenchHome["home"], "root" | "basesDir">): Promise<Prepared> {
  const support = await overlaySupport(root);
  const base = readdirSync(basesDir).find((name) => existsSync(path.join(basesDir, name, "tree")));
  if (!support.available || base === undefined) throw new Error(support.available ? "no checkout is there" : support.reason);
  const dir = mkdtempSync(path.join(root, "bench-"));
  const [name, lower] = [path.basename(dir), path.join(path.basename(basesDir), base, "tree")];
  for (const part of ["overlay/upper", "workspace", "step"]) mkdirSync(path.join(dir, part), { recursive: true });
  const overlay = { root: realpathSync(root), dir: `${name}/overlay`, target: `${name}/workspace`, lowers: [lower] };
  const { argv, env } = holderLaunch(support.means, overlay, null);
  const step = path.join(dir, "step");
  const begunAt = performance.now();
  const ready = new Promise<number>((resolve) => {
    const watcher = watch(step, () => {
      if (!existsSync(path.join(step, "ready"))) return;
      watcher.close();
      resolve(performance.now() - begunAt);
    });
  });
  const holder = spawn(argv[0] ?? "", argv.slice(1), { cwd: step, env, stdio: "ignore" });
  const ended = once(holder, "exit");
  const took = await Promise.race([ready, ended.then(() => Promise.reject(new Error("the workspace could not be mounted")))]);
  holder.kill("SIGKILL");
  await ended;
  rmSync(dir, { recursive: true });
  return { ready: took, setup: Number.NaN };
}

interface Prepared {
  /** Milliseconds from the claim to a sandbox that is ready, by the times in the log. */
  readonly ready: number;
  /** Of it, what the commands of the set-up took. */
  readonly setup: number;
}

async function prepared(server: BenchServer, repository: string, setup?: SetupRequest): Promise<Prepared> {
  const request = { ...trivialRun({ repository, agent: "sh", driver: "bwrap" }), ...(setup !== undefined && { setup }) };
  const events = await followRun(server, (await createRun(server, request)).id);
  const at = (type: RunEvent["type"]): number => Date.parse(events.find((event) => event.type === type)?.at ?? "");
  const took = events.map((event) => (event.type === "setup.finished" ? (event.data.durationMs ?? 0) : 0));
  return { ready: at("sandbox.ready") - at("run.started"), setup: took.reduce((sum, one) => sum + one, 0) };
}

/** A project with one dependency, which it holds as an archive: installing it needs no network. */
function packageFiles(dir: string, files: number): Record<string, Buffer> {
  const dependency = path.join(dir, "dependency");
  for (let index = 0; index < files; index += 1) {
    const folder = path.join(dependency, "lib", `part-${index % 90}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, `file-${index}.js`), `// ${index}\n`.repeat(Math.ceil(PACKAGE.bytes / 8)));
  }
  writeFileSync(path.join(dependency, "package.json"), JSON.stringify({ name: "dependency", version: "1.0.0" }));
  const npm = (cwd: string, ...words: string[]): void => void execFileSync("npm", words, { cwd, stdio: "ignore" });
  npm(dir, "pack", "./dependency");
  const project = { name: "project", version: "1.0.0", dependencies: { dependency: "file:dependency-1.0.0.tgz" } };
  writeFileSync(path.join(dir, "package.json"), JSON.stringify(project));
  npm(dir, "install", "--package-lock-only", "--offline", "--no-audit", "--no-fund");
  const names = ["package.json", "package-lock.json", "dependency-1.0.0.tgz"];
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(dir, name))]));
}
