import { accessSync, closeSync, constants, openSync, readFileSync, readSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

/** Every file of that name on `PATH`, where it may be. */
export function onPath(name: string, env: NodeJS.ProcessEnv): string[] {
  const dirs = (env["PATH"] ?? "").split(path.delimiter).filter((dir) => path.isAbsolute(dir));
  return dirs.map((dir) => path.join(dir, name));
}

/** The file behind all links, or null for one that is not there or may not be executed. */
export function realProgram(file: string): string | null {
  try {
    const real = realpathSync(file);
    accessSync(real, constants.X_OK);
    return real;
  } catch {
    return null;
  }
}

/** First bytes of ELF, and of Mach-O in its kinds. */
const NATIVE_MAGIC: ReadonlySet<string> = new Set(["7f454c46", "cffaedfe", "cafebabe"]);

/** True for a program of a system like this one, false for a script. */
export function isNative(file: string): boolean {
  const head = Buffer.alloc(4);
  try {
    const fd = openSync(file, "r");
    try {
      readSync(fd, head, 0, head.length, 0);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
  return NATIVE_MAGIC.has(head.toString("hex"));
}

/** Name and version that the package.json of a folder states; null where there is none. */
export function packageAt(folder: string): { readonly name: string; readonly version: string } | null {
  try {
    const parsed: unknown = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
    const { name, version } = parsed as { name?: unknown; version?: unknown };
    return typeof name === "string" && typeof version === "string" ? { name, version } : null;
  } catch {
    return null;
  }
}

/** The folder of an npm package as a file of that place would find it; null where it would not. */
export function packageSeenFrom(file: string, name: string): string | null {
  try {
    return path.dirname(createRequire(file).resolve(`${name}/package.json`));
  } catch {
    return null;
  }
}
