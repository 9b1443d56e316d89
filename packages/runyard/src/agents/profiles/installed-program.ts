import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, readSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { ProfileProbe } from "./profile.ts";

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

/** A package of npm's whose program is a script for Node. */
export interface ScriptPackage {
  /** What people call it. */
  readonly title: string;
  readonly name: string;
  /** The command that installs the release that Runyard is tested with. */
  readonly install: string;
  /** Where the script lies in the package. */
  readonly script: string;
  /** The command that npm makes of it. */
  readonly command: string;
  /** The variable that names its program, or a folder with its node_modules. */
  readonly variable: string;
}

export interface FoundScript {
  readonly folder: string;
  readonly script: string;
  readonly version: string;
}

/** Finds such a package: by its variable where that is set, else on `PATH`, else in the node_modules around Runyard; null where it is not. */
export function findScript({ name, script, command, variable }: ScriptPackage, env: NodeJS.ProcessEnv): FoundScript | null {
  const named = env[variable];
  const places = named
    ? [packageOf(named), named, path.join(named, name), path.join(named, "node_modules", name)]
    : [...onPath(command, env).map(packageOf), packageSeenFrom(fileURLToPath(import.meta.url), name)];
  for (const folder of places) {
    const found = folder === null ? null : packageAt(folder);
    if (folder !== null && found?.name === name && existsSync(path.join(folder, script)))
      return { folder, script: path.join(folder, script), version: found.version };
  }
  return null;
}

/** The same, where it must be there: throws what `missingScript` says. */
export function requireScript(wanted: ScriptPackage, env: NodeJS.ProcessEnv): FoundScript {
  const found = findScript(wanted, env);
  if (found === null) throw new Error(missingScript(wanted, env));
  return found;
}

export async function probeScript(wanted: ScriptPackage, env: NodeJS.ProcessEnv): Promise<ProfileProbe> {
  const found = findScript(wanted, env);
  return found === null
    ? { installed: false, version: null, program: null, reason: missingScript(wanted, env) }
    : { installed: true, version: found.version, program: found.script, reason: null };
}

/** Why such a package was not found, and what to do about it. */
export function missingScript({ title, name, install, variable }: ScriptPackage, env: NodeJS.ProcessEnv): string {
  const named = env[variable];
  const what = named ? `${variable} is ${named}, and no ${name} is there.` : `${title} is not installed.`;
  return `${what} Install it (${install}), or set ${variable} to its program or to a folder with its node_modules.`;
}

/** The package of a program that lies in a folder of it; null for a folder, or for what is not there. */
function packageOf(file: string): string | null {
  const real = realProgram(file);
  return real === null ? null : path.dirname(path.dirname(real));
}
