import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { withLock } from "../store/postgres/lock.ts";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
/** Below the clone's own packages, where what is published finds those that it depends on. */
const BASE = path.join(ROOT, "node_modules/.runyard-published");
/** What the build is made of; tests and their helpers are not. */
const SOURCES = [
  "package-lock.json",
  "tsconfig.json",
  "scripts/build",
  ...["sdk", "runyard"].flatMap((name) =>
    ["package.json", "tsconfig.build.json", "bin", "assets", "src"].map((part) => `packages/${name}/${part}`),
  ),
];
const OF_TESTS = /\.test\.ts$|\/testing\//;
/** Made of other sources than ours, and used by nobody for so long, it is removed. */
const KEPT_MS = 24 * 3_600_000;

let made: Promise<string> | undefined;

/**
 * A folder `node_modules` with both packages as they are published. It is built once of the same sources, by
 * whoever needs it first, and stays for the next run: compiled commands start in a third of the time.
 */
export function publishedPackages(): Promise<string> {
  made ??= make();
  return made;
}

/** The `runyard` program as it is published. */
export async function publishedProgram(): Promise<string> {
  return path.join(await publishedPackages(), "runyard/bin/runyard.mjs");
}

async function make(): Promise<string> {
  mkdirSync(BASE, { recursive: true });
  const dir = path.join(BASE, hashOfSources());
  return withLock(path.join(BASE, "lock"), async () => {
    if (!existsSync(dir)) {
      removeUnused();
      const draft = mkdtempSync(path.join(BASE, "draft-"));
      // Tests start it as other users, too.
      chmodSync(draft, 0o755);
      const words = [path.join(ROOT, "scripts/bootstrap.mjs"), "build", path.join(draft, "node_modules")];
      await promisify(execFile)(process.execPath, words, { cwd: ROOT });
      renameSync(draft, dir);
    }
    utimesSync(dir, new Date(), new Date());
    return path.join(dir, "node_modules");
  });
}

function hashOfSources(): string {
  const hash = createHash("sha256");
  for (const file of SOURCES.flatMap(filesAt))
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(ROOT, file)))
      .update("\0");
  return hash.digest("hex").slice(0, 16);
}

function filesAt(place: string): string[] {
  if (!existsSync(path.join(ROOT, place))) return [];
  if (!statSync(path.join(ROOT, place)).isDirectory()) return [place];
  const entries = readdirSync(path.join(ROOT, place), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)));
  return files.filter((file) => !OF_TESTS.test(file)).sort();
}

function removeUnused(): void {
  for (const name of readdirSync(BASE).filter((one) => one !== "lock")) {
    const dir = path.join(BASE, name);
    if (Date.now() - statSync(dir).mtimeMs > KEPT_MS) rmSync(dir, { recursive: true, force: true });
  }
}
