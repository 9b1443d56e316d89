import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isNative, onPath, packageAt, packageSeenFrom, realProgram } from "./installed-program.ts";

export const INSTALL_OPENCODE = "npm install -g opencode-ai";
const HOW_TO_INSTALL = `Install it (${INSTALL_OPENCODE}), or set RUNYARD_OPENCODE to its program or to a folder with its node_modules.`;

export type FoundOpencode =
  | { readonly program: string; readonly version: string | null; readonly reason: null }
  | { readonly program: null; readonly version: null; readonly reason: string };

/**
 * Finds opencode's native program: by `RUNYARD_OPENCODE` (a program or a folder) where it is set, else
 * on `PATH`, else in the node_modules around Runyard. npm installs a small script in front of it, which
 * does not work where install scripts are off, so the platform's own package is looked for behind it.
 */
export function findOpencode(env: NodeJS.ProcessEnv): FoundOpencode {
  const named = env["RUNYARD_OPENCODE"];
  if (named) {
    const program = nativeProgram(named) ?? programInFolder(named);
    return program === null ? missing(`RUNYARD_OPENCODE is ${named}, and no opencode for this machine is there.`) : found(program);
  }
  for (const file of onPath("opencode", env)) {
    const program = nativeProgram(file);
    if (program !== null) return found(program);
  }
  const beside = packageSeenFrom(fileURLToPath(import.meta.url), "opencode-ai");
  const program = beside === null ? null : programInFolder(beside);
  return program === null ? missing("opencode is not installed.") : found(program);
}

function found(program: string): FoundOpencode {
  return { program, version: packageVersion(program), reason: null };
}

function missing(what: string): FoundOpencode {
  return { program: null, version: null, reason: `${what} ${HOW_TO_INSTALL}` };
}

/** The program itself where it is native, the one of the platform's package where it is npm's script. */
function nativeProgram(file: string): string | null {
  const real = realProgram(file);
  if (real === null) return null;
  return isNative(real) ? real : programOfPackage(path.dirname(path.dirname(real)));
}

/** A folder may be the package, a node_modules, or what holds one. */
function programInFolder(folder: string): string | null {
  for (const place of [folder, path.join(folder, "opencode-ai"), path.join(folder, "node_modules/opencode-ai")]) {
    const program = programOfPackage(place);
    if (program !== null) return program;
  }
  return null;
}

/** The native program that belongs to the package at `root`: its own, or that of the platform's package beside or below it. */
function programOfPackage(root: string): string | null {
  const places = platformPackages().flatMap((name) => [path.join(root, "..", name), path.join(root, "node_modules", name)]);
  for (const place of [root, ...places]) {
    for (const name of ["opencode", "opencode.exe"]) {
      const real = realProgram(path.join(place, "bin", name));
      if (real !== null && isNative(real)) return real;
    }
  }
  return null;
}

/** Names of the packages that can hold a program for this machine, the best first. */
export function platformPackages(): string[] {
  const base = `opencode-${process.platform}-${process.arch}`;
  const suffix = process.platform === "linux" && usesMusl() ? "-musl" : "";
  if (process.arch !== "x64") return [`${base}${suffix}`];
  const packages = [`${base}${suffix}`, `${base}-baseline${suffix}`];
  return hasAvx2() ? packages : packages.toReversed();
}

function usesMusl(): boolean {
  return existsSync("/lib") && readdirSync("/lib").some((name) => name.startsWith("ld-musl-"));
}

/** True where nobody can tell: then the usual build is tried first. */
function hasAvx2(): boolean {
  try {
    return /(^|\s)avx2(\s|$)/m.test(readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return true;
  }
}

/** The version that the package around the program names; null for an installation without one. */
function packageVersion(program: string): string | null {
  const around = packageAt(path.dirname(path.dirname(program)));
  return around?.name.startsWith("opencode") === true ? around.version : null;
}
