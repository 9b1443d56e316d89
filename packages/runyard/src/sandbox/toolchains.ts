import { accessSync, constants, existsSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import type { Mount } from "./driver.ts";
import { TOOLCHAIN_LAYOUTS } from "./toolchain-layouts.ts";

/** A program of the host, and what must be seen inside a sandbox for it to run there. */
export interface Toolchain {
  /** Absolute path, all links followed: what to execute. */
  readonly program: string;
  /** Directory for PATH. */
  readonly binDir: string;
  /** Read-only; empty for what lies in the system's own directories. */
  readonly mounts: readonly Mount[];
}

/** Directories of the system that every sandbox sees. */
export const SYSTEM_DIRS = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

export const SYSTEM_PATH = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

export function isBelow(file: string, dir: string): boolean {
  return file === dir || file.startsWith(dir === "/" ? dir : `${dir}/`);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The first program of that name in some directories, or null. */
export function findProgram(name: string, dirs: readonly string[]): string | null {
  return dirs.map((dir) => path.join(dir, name)).find(isProgram) ?? null;
}

/** A directory that holds more than one installation: showing it would show what is nobody's business. */
function isShared(dir: string, home: string): boolean {
  return isBelow(home, dir) || dir === path.join(home, ".local") || path.dirname(dir) === "/";
}

/** What is shown of a layout at some place. */
function partsOf(name: string, root: string): string[] {
  const parts = TOOLCHAIN_LAYOUTS.find((layout) => layout.name === name)?.parts ?? [];
  return parts.map((part) => path.join(root, part)).filter((part) => existsSync(part));
}

/** The directories or files that make up the installation of a program. */
function installationOf(program: string, home: string): string[] {
  const cellar = program.indexOf("/Cellar/"); // Homebrew: everything links to everything below its prefix
  if (cellar > 0) return partsOf("Homebrew", program.slice(0, cellar));
  const prefix = path.dirname(path.dirname(program));
  if (path.basename(path.dirname(program)) === "bin" && !isShared(prefix, home)) return [prefix];
  const modules = path.join(prefix, "lib", "node_modules");
  return existsSync(modules) ? [program, modules] : [program];
}

/** How a program of the host is brought into a sandbox: its installation, at the same place, and no more. */
export function resolveToolchain(file: string, home: string = homedir()): Toolchain {
  const program = realpathSync(file);
  const isSystem = SYSTEM_DIRS.some((dir) => isBelow(program, dir));
  const sources = isSystem ? [] : installationOf(program, home);
  return { program, binDir: path.dirname(program), mounts: sources.map((source) => ({ source, target: source, mode: "ro" })) };
}

/** Toolchains that every sandbox gets besides the system's own: the node that runs this server. */
export function hostToolchains(): Toolchain[] {
  return [resolveToolchain(process.execPath)];
}

/** PATH inside a sandbox: made of what is seen there. `hostPath`: directories of the host, in its order. */
export function pathInside(toolchains: readonly Toolchain[], hostPath: readonly string[] = []): string {
  const dirs = toolchains.map((toolchain) => toolchain.binDir).filter((dir) => !SYSTEM_PATH.includes(dir) && !hostPath.includes(dir));
  return [...new Set([...dirs, ...hostPath, ...SYSTEM_PATH])].join(":");
}

/** The system's directories as a sandbox must show them: real ones, and links with where they lead. */
export function systemDirs(): { readonly dir: string; readonly link: boolean }[] {
  return SYSTEM_DIRS.filter((dir) => existsSync(dir)).map((dir) => ({ dir, link: realpathSync(dir) !== dir }));
}
