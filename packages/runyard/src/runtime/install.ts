import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { makePrivateDir, type Home } from "../home.ts";
import { buildPrograms, PROGRAM_SOURCES } from "./build-programs.ts";
import { readFreshStamps, stampedFiles, stampOf, writeStamps } from "./stamps.ts";

/** Programs that outlive an update of the package, in a directory that nothing changes any more. */
export interface Runtime {
  readonly dir: string;
  readonly gatewayProgram: string;
  readonly builtinAgentProgram: string;
  readonly runToolsProgram: string;
  readonly containerProgram: string;
  readonly containerNode: string;
  readonly shimProgram: string;
  readonly spawnerProgram: string;
  /** Of the contents; the directory's name. */
  readonly hash: string;
}

export interface InstallOptions {
  readonly home: Home;
  onProgress?(message: string): void;
}

/** Where programs come from: bundled from sources, or files that are copied as they are. */
export interface RuntimeSources {
  /** Entry files by program name; empty for a package that was built. */
  readonly bundled: Readonly<Record<string, string>>;
  readonly copied: readonly string[];
}

const PROGRAMS = ["agent.mjs", "container-node.sh", "container.mjs", "gateway.mjs", "run-tools.mjs", "shim.sh", "spawner.sh"] as const;
/** Left over from an install that was killed: by then it is no longer being written. */
const STALE_MS = 3_600_000;

/** The version of this package. */
export function runtimeVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
}

/**
 * Copies what must outlive the server to `<runtimeDir>/<hash>/`, bundling it first when this is a clone.
 * Costs a few milliseconds when nothing has changed since the last time. Directories of other versions
 * stay: living processes use them.
 */
export async function installRuntime(options: InstallOptions): Promise<Runtime> {
  return await installFrom(ownSources(), options);
}

function ownSources(): RuntimeSources {
  const beside = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  const shells = ["container-node.sh", "shim.sh", "spawner.sh"].map((name) => beside(`../sandbox/programs/${name}`));
  const isClone = Object.values(PROGRAM_SOURCES).every((file) => existsSync(file));
  if (isClone) return { bundled: PROGRAM_SOURCES, copied: shells };
  const bundles = Object.keys(PROGRAM_SOURCES).map((name) => beside(`../programs/${name}.mjs`));
  return { bundled: {}, copied: [...bundles, ...shells] };
}

/** The same from given sources, which together must make all of the programs. */
export async function installFrom(sources: RuntimeSources, options: InstallOptions): Promise<Runtime> {
  const { runtimeDir } = options.home;
  makePrivateDir(runtimeDir);
  const origin = createHash("sha256").update(JSON.stringify(sources)).digest("hex").slice(0, 16);
  const stampsFile = path.join(runtimeDir, `.stamps-${origin}.json`);
  const stamps = readFreshStamps(stampsFile);
  if (stamps !== undefined) return runtimeAt(runtimeDir, stamps.hash);

  if (Object.keys(sources.bundled).length > 0) options.onProgress?.("Building the programs that outlive the server");
  removeStale(runtimeDir);
  const startedAt = Date.now();
  const fresh = mkdtempSync(path.join(runtimeDir, ".new-"));
  try {
    const inputs = await fill(fresh, sources);
    const hash = hashOf(fresh);
    const runtime = runtimeAt(runtimeDir, hash);
    putInPlace(fresh, { dir: runtime.dir, hash });
    const files = [...stampedFiles(inputs).map(stampOf), ...programsIn(runtime.dir).map(stampOf)];
    // A source that was written while it was read is looked at again the next time.
    const wasStill = files.every(([file, , mtimeMs]) => file.startsWith(runtime.dir) || mtimeMs < startedAt);
    if (wasStill) writeStamps(stampsFile, { hash, files });
    return runtime;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function runtimeAt(runtimeDir: string, hash: string): Runtime {
  const dir = path.join(runtimeDir, hash);
  return {
    dir,
    hash,
    gatewayProgram: path.join(dir, "gateway.mjs"),
    builtinAgentProgram: path.join(dir, "agent.mjs"),
    runToolsProgram: path.join(dir, "run-tools.mjs"),
    containerProgram: path.join(dir, "container.mjs"),
    containerNode: path.join(dir, "container-node.sh"),
    shimProgram: path.join(dir, "shim.sh"),
    spawnerProgram: path.join(dir, "spawner.sh"),
  };
}

function programsIn(dir: string): string[] {
  return PROGRAMS.map((name) => path.join(dir, name));
}

/** Puts all programs into a directory; returns the files that they were made from. */
async function fill(dir: string, sources: RuntimeSources): Promise<string[]> {
  const inputs = Object.keys(sources.bundled).length > 0 ? await buildPrograms(dir, sources.bundled) : [];
  for (const file of sources.copied) copyFileSync(file, path.join(dir, path.basename(file)));
  for (const file of programsIn(dir)) chmodSync(file, file.endsWith(".sh") ? 0o755 : 0o644);
  chmodSync(dir, 0o755);
  return [...inputs, ...sources.copied];
}

function hashOf(dir: string): string {
  const hash = createHash("sha256");
  for (const file of programsIn(dir)) {
    const contents = readFileSync(file);
    hash.update(`${path.basename(file)} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex").slice(0, 20);
}

/** Gives a finished directory its name. Another start may have done the same; what is there but not whole is replaced. */
function putInPlace(fresh: string, place: { dir: string; hash: string }): void {
  if (isWhole(place)) return;
  // A directory can be renamed over an empty one only: what is half there goes aside first.
  const aside = `${fresh}-aside`;
  try {
    if (existsSync(place.dir)) renameSync(place.dir, aside);
    renameSync(fresh, place.dir);
  } catch (error) {
    if (!isWhole(place)) throw error;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

function isWhole(place: { dir: string; hash: string }): boolean {
  try {
    return hashOf(place.dir) === place.hash;
  } catch {
    return false;
  }
}

function removeStale(runtimeDir: string): void {
  for (const name of readdirSync(runtimeDir)) {
    if (!name.startsWith(".new-")) continue;
    const leftOver = path.join(runtimeDir, name);
    const madeAt = statSync(leftOver, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (madeAt < Date.now() - STALE_MS) rmSync(leftOver, { recursive: true, force: true });
  }
}
