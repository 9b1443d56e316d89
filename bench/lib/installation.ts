import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "../../scripts/setup/lock.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PACKAGES = { runyard: "packages/runyard", "@runyard/sdk": "packages/sdk" } as const;
const SHIPPED = ["dist", "bin/runyard.mjs", "assets", "package.json"];

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Builds the two packages and lays them out below `dir` as an installation has them, so that what is
 * measured is what users run, and a build that somebody starts meanwhile changes nothing. Returns the program.
 */
export async function installBuilt(dir: string): Promise<string> {
  execFileSync(process.execPath, [path.join(ROOT, "scripts/bootstrap.mjs"), "build"], { stdio: ["ignore", "ignore", "inherit"] });
  const modules = path.join(dir, "node_modules");
  await withLock(path.join(ROOT, ".runyard-setup-build"), async () => {
    for (const [name, folder] of Object.entries(PACKAGES)) copyShipped(path.join(ROOT, folder), path.join(modules, name));
  });
  const names = Object.values(PACKAGES).flatMap((folder) => dependenciesOf(path.join(ROOT, folder)));
  for (const name of names) linkDependency(modules, name);
  return path.join(modules, "runyard/bin/runyard.mjs");
}

function copyShipped(from: string, to: string): void {
  for (const name of SHIPPED)
    if (existsSync(path.join(from, name))) cpSync(path.join(from, name), path.join(to, name), { recursive: true });
}

function dependenciesOf(folder: string): string[] {
  const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as Manifest;
  return Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
}

/** Of the platforms' packages only this machine's is there. */
function linkDependency(modules: string, name: string): void {
  const [source, target] = [path.join(ROOT, "node_modules", name), path.join(modules, name)];
  if (existsSync(target) || !existsSync(source)) return;
  mkdirSync(path.dirname(target), { recursive: true });
  symlinkSync(source, target);
}
