import { closeSync, constants, fstatSync, openSync, readdirSync, readlinkSync, readSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import type { Mount } from "./driver.ts";
import { SECRET_PLACES, TOOLCHAIN_LAYOUTS, type ToolchainLayout } from "./toolchain-layouts.ts";
import { isBelow, SYSTEM_DIRS } from "./toolchains.ts";

/** What one toolchain of the host is, and what of it sandboxes see. */
export interface FoundToolchain {
  readonly name: string;
  /** Null where only the program itself could tell. */
  readonly version: string | null;
  /** Directories and files, each seen at the same path. */
  readonly shown: readonly string[];
}

/** Something on PATH that sandboxes do not see. */
export interface HiddenPlace {
  readonly place: string;
  readonly reason: string;
}

export interface HostToolchains {
  readonly found: readonly FoundToolchain[];
  readonly hidden: readonly HiddenPlace[];
  /** Read-only, none of them within another. */
  readonly mounts: readonly Mount[];
  /** Directories for PATH in the server's order, those of the system among them. */
  readonly path: readonly string[];
  /** Variables by which the toolchains find themselves. */
  readonly env: Readonly<Record<string, string>>;
}

/** For sandboxes that see the system and the server's Node.js only. */
export const NO_TOOLCHAINS: HostToolchains = { found: [], hidden: [], mounts: [], path: [], env: {} };

export interface ToolchainSearch {
  /** The environment of the server. */
  readonly env: NodeJS.ProcessEnv;
  /** The home of its user. */
  readonly home: string;
  /** `RUNYARD_HOME`. */
  readonly runyardHome: string;
}

/** Names of further directories with programs, with colons between them. */
export const TOOLCHAINS_VARIABLE = "RUNYARD_TOOLCHAINS";
/** What the sandbox has of its own. */
const OWN_PLACES = ["/workspace", "/home/agent", "/etc", "/proc", "/sys", "/dev", "/run/runyard"];
/** What is never shown as a toolchain, nor anything in it. */
const NEVER_BELOW = ["/etc", "/proc", "/sys", "/dev", "/run", "/boot"];
/** Where many installations are beside each other, and other things. */
const SHARED_PLACES = ["/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var"];
const MOST_ENTRIES = 10_000;
const SHEBANG_BYTES = 256;
const HOW_TO_SHOW = `no toolchain that is known; where it holds no secrets, ${TOOLCHAINS_VARIABLE} can name it`;

/** The directories that `RUNYARD_TOOLCHAINS` names. Throws what is wrong with one of them, and what to do. */
export function toolchainsFromEnvironment(search: ToolchainSearch): string[] {
  const dirs = (search.env[TOOLCHAINS_VARIABLE] ?? "").split(path.delimiter).filter((dir) => dir !== "");
  for (const dir of dirs) {
    const wrong = whyNoToolchain(dir, search);
    if (wrong !== null) throw new Error(`${TOOLCHAINS_VARIABLE}: ${JSON.stringify(dir)} ${wrong}`);
  }
  return dirs.map((dir) => path.normalize(dir).replace(/(?<=.)\/+$/, ""));
}

function whyNoToolchain(dir: string, search: ToolchainSearch): string | null {
  if (!path.isAbsolute(dir)) return "must be an absolute path, with colons between several.";
  const real = realOf(dir);
  if (real === null || !isDirectory(real)) return "is not a directory of this machine.";
  const refusal = whyNeverShown(real, search) ?? whyNeverShown(path.normalize(dir), search);
  if (refusal !== null) return `cannot be shown in sandboxes: ${refusal}. Name the directory of one installation.`;
  if (SYSTEM_DIRS.some((system) => isBelow(real, system))) return "is shown in every sandbox anyway: leave it out.";
  return SHARED_PLACES.includes(real) ? "holds more than one installation: name a directory in it." : null;
}

/** Why a directory or file is not shown, whatever asks for it; null: nothing is against it. */
function whyNeverShown(place: string, { home, runyardHome }: ToolchainSearch): string | null {
  const homes = [home, realOf(home)].filter((one) => one !== null);
  if (homes.some((one) => isBelow(one, place))) return "the home of this user is in it";
  const own = [runyardHome, realOf(runyardHome)].filter((one) => one !== null);
  if (own.some((one) => isBelow(one, place) || isBelow(place, one))) return "it is, or holds, what Runyard keeps";
  if (NEVER_BELOW.some((dir) => isBelow(place, dir) || isBelow(dir, place))) return "it is the system's, and may hold secrets";
  if (OWN_PLACES.some((dir) => isBelow(place, dir) || isBelow(dir, place))) return "sandboxes have something of their own there";
  const secrets = homes.flatMap((one) => SECRET_PLACES.map((name) => path.join(one, name)));
  const secret = secrets.find((one) => isBelow(place, one) || (isBelow(one, place) && realOf(one) !== null));
  return secret === undefined ? null : `${secret} may hold secrets`;
}

/**
 * Looks for the toolchains of the server's PATH: known layouts, and the directories `further`. Executes nothing.
 * Of each, what is shown is what its programs need: links are followed, and the first lines of scripts.
 */
export function findHostToolchains(search: ToolchainSearch, further: readonly string[]): HostToolchains {
  return new Finder(search).find(further);
}

class Finder {
  private readonly byName = new Map<string, { version: string | null; readonly shown: Set<string> }>();
  private readonly hidden = new Map<string, string>();
  private readonly env: Record<string, string> = {};
  private readonly seen = new Set<string>();

  private readonly search: ToolchainSearch;

  constructor(search: ToolchainSearch) {
    this.search = search;
  }

  find(further: readonly string[]): HostToolchains {
    for (const dir of further) this.show("named", dir, null);
    const onPath = (this.search.env["PATH"] ?? "").split(path.delimiter).filter((dir) => path.isAbsolute(dir) && isDirectory(dir));
    const named = further.map((dir) => (isDirectory(path.join(dir, "bin")) ? path.join(dir, "bin") : dir));
    const dirs = [...onPath, ...named].flatMap((dir) => this.visitDir(dir) ?? []);
    const found = [...this.byName].map(([name, { version, shown }]) => ({ name, version, shown: [...shown].sort() }));
    const sources = found.flatMap(({ shown }) => shown);
    const outermost = [...new Set(sources)].filter((one) => !sources.some((other) => other !== one && isBelow(one, other)));
    return {
      found,
      hidden: [...this.hidden].map(([place, reason]) => ({ place, reason })),
      mounts: outermost.sort().map((source) => ({ source, target: source, mode: "ro" })),
      path: [...new Set(dirs)],
      env: this.env,
    };
  }

  /** A directory of PATH: as it is called inside, or null where it is not shown. */
  private visitDir(dir: string): string | null {
    const place = path.normalize(dir).replace(/(?<=.)\/+$/, "");
    const real = realOf(place) ?? place;
    if (!isSystem(real)) {
      const isThere = [place, real].map((one) => this.showWhatHolds(one));
      if (!isThere.includes(true)) {
        this.hide(place, HOW_TO_SHOW);
        return null;
      }
      for (const entry of entriesOf(real)) this.visit(path.join(real, entry.name));
      return isThere[0] === true ? place : real;
    }
    for (const entry of entriesOf(real)) if (entry.isSymbolicLink()) this.visit(path.join(real, entry.name));
    return SYSTEM_DIRS.some((system) => isBelow(place, system)) ? place : real;
  }

  /** Shows what a program needs beside its own directory: where its link leads, and what its first line names. */
  private visit(program: string): void {
    if (this.seen.has(program)) return;
    this.seen.add(program);
    const real = realOf(program);
    if (real === null) return;
    for (const place of [linkTarget(program), real]) {
      if (place !== null && !isSystem(realOf(place) ?? place) && !this.showWhatHolds(place))
        this.hide(program, `it leads to ${place}: ${HOW_TO_SHOW}`);
    }
    if (isSystem(real)) return;
    const interpreter = interpreterOf(real);
    if (interpreter === null || isSystem(interpreter)) return;
    if (!this.showWhatHolds(interpreter)) return this.hide(program, `it needs ${interpreter}: ${HOW_TO_SHOW}`);
    this.visit(interpreter);
  }

  /** Shows the part of a toolchain that holds a path; false where there is none. */
  private showWhatHolds(place: string): boolean {
    if ([...this.byName.values()].some(({ shown }) => [...shown].some((one) => isBelow(place, one)))) return true;
    for (const layout of TOOLCHAIN_LAYOUTS) {
      for (const root of this.rootsOf(layout)) {
        const part = partThatHolds(place, root, layout);
        if (part !== null) return this.showLayout(layout, root, part);
      }
    }
    return false;
  }

  private showLayout(layout: ToolchainLayout, root: string, part: Part | null): boolean {
    const whole = layout.parts.filter((one) => !one.includes("*")).map((one) => path.join(root, one));
    const places = [...(part === null ? [] : [part.place]), ...whole.filter((one) => realOf(one) !== null)];
    const version = part?.version ?? versionOf(layout, root);
    const isShown = places.map((place) =>
      this.show(layout.name === "/opt" ? `/opt/${part?.version}` : layout.name, place, layout.name === "/opt" ? null : version),
    );
    if (layout.variable !== undefined && isShown.includes(true)) this.env[layout.variable] ??= root;
    for (const name of layout.needs ?? []) {
      const needed = TOOLCHAIN_LAYOUTS.find((one) => one.name === name);
      const where = needed === undefined ? undefined : this.rootsOf(needed)[0];
      if (needed !== undefined && where !== undefined && realOf(where) !== null) this.showLayout(needed, where, null);
    }
    return part === null || isShown[0] === true;
  }

  private show(name: string, place: string, version: string | null): boolean {
    const refusal = whyNeverShown(realOf(place) ?? place, this.search) ?? whyNeverShown(place, this.search);
    if (refusal !== null) {
      this.hide(place, refusal);
      return false;
    }
    const toolchain = this.byName.get(name) ?? { version, shown: new Set<string>() };
    toolchain.shown.add(place);
    if (version !== null && toolchain.version !== null && !toolchain.version.split(", ").includes(version))
      toolchain.version += `, ${version}`;
    toolchain.version ??= version;
    this.byName.set(name, toolchain);
    return true;
  }

  private hide(place: string, reason: string): void {
    if (!this.hidden.has(place)) this.hidden.set(place, reason);
  }

  /** Where a layout's root may be: as its variable says, then as usual; and where those lead. */
  private rootsOf({ variable, roots }: ToolchainLayout): string[] {
    const named = variable === undefined ? undefined : this.search.env[variable];
    const usual = roots.map((root) => root.replace(/^~/, this.search.home));
    const all = [...(named !== undefined && path.isAbsolute(named) ? [path.normalize(named)] : []), ...usual];
    return [...new Set(all.flatMap((root) => [root, realOf(root) ?? root]))];
  }
}

interface Part {
  readonly place: string;
  /** What stands where the part has its last `*`. */
  readonly version: string | null;
}

function partThatHolds(place: string, root: string, layout: ToolchainLayout): Part | null {
  if (place === root || !isBelow(place, root)) return null;
  const words = path.relative(root, place).split("/");
  for (const part of layout.parts) {
    const patterns = part.split("/");
    if (words.length < patterns.length || !patterns.every((pattern, index) => fits(words[index] ?? "", pattern))) continue;
    const star = patterns.findLastIndex((pattern) => pattern.includes("*"));
    return { place: path.join(root, ...words.slice(0, patterns.length)), version: star < 0 ? null : (words[star] ?? null) };
  }
  return null;
}

function fits(word: string, pattern: string): boolean {
  const [head = "", tail] = pattern.split("*");
  return tail === undefined ? word === pattern : word.startsWith(head) && word.endsWith(tail) && word.length >= head.length + tail.length;
}

function versionOf({ version }: ToolchainLayout, root: string): string | null {
  if (version === undefined) return null;
  const text = headOf(path.join(root, version.file), 4_096);
  return (text === null ? null : version.pattern.exec(text)?.[1]) ?? null;
}

function isSystem(place: string): boolean {
  return SYSTEM_DIRS.some((dir) => isBelow(place, dir) || isBelow(place, realOf(dir) ?? dir));
}

/** The absolute path in the first line of a script; null for what is none. */
function interpreterOf(file: string): string | null {
  const line = /^#!\s*(\/\S+)/.exec(headOf(file, SHEBANG_BYTES) ?? "")?.[1];
  return line === undefined ? null : path.normalize(line);
}

/** The beginning of a file; null for what is none, or not to be read. Never waits for a writer. */
function headOf(file: string, bytes: number): string | null {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return null;
  }
  try {
    if (!fstatSync(fd).isFile()) return null;
    const head = Buffer.alloc(bytes);
    return head.toString("latin1", 0, readSync(fd, head, 0, bytes, 0));
  } catch {
    return null;
  } finally {
    closeSync(fd);
  }
}

/** Where a link leads in one step; null for what is none. */
function linkTarget(file: string): string | null {
  try {
    return path.resolve(path.dirname(file), readlinkSync(file));
  } catch {
    return null;
  }
}

function realOf(file: string): string | null {
  try {
    return realpathSync(file);
  } catch {
    return null;
  }
}

/** False also for what this user may not look at, as directories of another user's on an inherited PATH. */
function isDirectory(file: string): boolean {
  try {
    return statSync(file).isDirectory();
  } catch {
    return false;
  }
}

function entriesOf(dir: string): ReturnType<typeof readEntries> {
  try {
    return readEntries(dir).slice(0, MOST_ENTRIES);
  } catch {
    return [];
  }
}

function readEntries(dir: string) {
  return readdirSync(dir, { withFileTypes: true });
}
