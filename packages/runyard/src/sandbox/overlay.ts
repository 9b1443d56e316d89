import { spawn } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import type { Launch } from "./driver.ts";
import { removeTree } from "./remove-tree.ts";
import { isSameProcess, readPidFile, type ShimPid } from "./run-directory.ts";
import { findProgram, SYSTEM_PATH } from "./toolchains.ts";

/**
 * Folders that are seen as one: what is written goes into `upper` and what lies in the layers below stays as it is. All
 * names are below `root` and made of letters, digits, `-`, `_`, `.` and `/`: nothing in them is to be quoted in mount options.
 */
export interface Overlay {
  readonly root: string;
  /** The folder that holds `upper` and what belongs to it. */
  readonly dir: string;
  /** Where it is seen, in the holder's mount namespace only. */
  readonly target: string;
  /** Folders, the topmost first. They are never written. */
  readonly lowers: readonly string[];
}

/** The programs that overlays take, and who keeps what the kernel notes in files: root its own attributes, others those of users. */
export interface OverlayMeans {
  readonly unshare: string;
  readonly nsenter: string;
  readonly env: string;
  readonly notes: "trusted" | "user";
}

export type OverlaySupport =
  | { readonly available: true; readonly means: OverlayMeans }
  | { readonly available: false; readonly reason: string };

const UPPER = "upper";
/** Who holds an overlay: pid, start time and boot, as a shim's `pid`. Left behind by one that is dead. */
const HOLDER = "holder";
/** The folders in which it is tried out whether there are overlays. */
const PROBE = ".overlay-";
const PROBE_TIMEOUT_MS = 10_000;
const PROBE_AGAIN_MS = 60_000;
const PATH_OF_PROGRAMS = SYSTEM_PATH.join(":");

/**
 * Mounts an overlay and holds it: $1 root, $2 options, $3 target, $4 folder of the overlay, $5 and $6 a folder that is copied
 * into another one first, once, or two empty words, $7 the words of the command that it becomes. The folder `work` is a new one each time:
 * the kernel refuses one that was used without syncing (`volatile`, so that whoever unmounts does not wait for a whole disk to be
 * written). Short of memory, the kernel takes a command and not this.
 */
const HOLD = `run=$(pwd -P) && cd -- "$1" || exit 96
read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat || exit 96
{ echo 0 >/proc/self/oom_score_adj; } 2>/dev/null
umask 077
if [ -n "$5" ] && [ ! -e "$4/copied" ]; then cp -a -- "$5/." "$6/" && : >"$4/copied" || exit 96; fi
rm -rf -- "$4/work" && mkdir -- "$4/work" && mount -t overlay -o "$2" overlay "$3" || exit 96
dir=$4 wait=$7
set -- \${stat##*) }
shift 19
echo "$$ $1 $boot" >"$dir/${HOLDER}.new" && mv -- "$dir/${HOLDER}.new" "$dir/${HOLDER}" && cd -- "$run" && : >ready || exit 96
exec $wait
`;

/**
 * Becomes a command inside of what a holder holds: $1 its file, $2 and $3 the programs env and nsenter, then the command. Who holds it is
 * read now, and whether that is the same process still: a number may have been given to another one since. The command inherits no variable.
 */
const enterScript = (user: string): string => `gone() { echo 'runyard: what holds the workspace is gone' >&2; exit 96; }
read -r pid start boot <"$1" && read -r now </proc/sys/kernel/random/boot_id && [ "$boot" = "$now" ] || gone
read -r x x x x x x x x x x x x x x x x x x x x x begun x <"/proc/$pid/stat" && [ "$begun" = "$start" ] || gone
env=$2 nsenter=$3
shift 3
exec "$env" -i "$nsenter" ${user} "--mount=/proc/$pid/ns/mnt" -- "$@"
`;

/** Shows an overlay to whoever has this process, and to nobody once its stdin ends: $1 root, $2 options, $3 target. Nothing can be written. */
const SHOW = `cd -- "$1" && mount -t overlay -o "$2" overlay "$3" && echo shown && read -r end; exit 0`;

/** The folder that holds what is written. */
export function upperOf(overlay: Pick<Overlay, "root" | "dir">): string {
  return path.join(overlay.root, overlay.dir, UPPER);
}

/** The words before a command that is to have mounts of its own. Whatever is unmounted outside goes inside as well. */
function ownMounts({ unshare, notes }: OverlayMeans): string[] {
  const user = notes === "user" ? ["--user", "--map-root-user"] : [];
  return [unshare, ...user, "--mount", "--propagation", "slave"];
}

function plain(name: string): string {
  if (!/^[\w./-]+$/.test(name)) throw new Error(`${JSON.stringify(name)} cannot be a layer: its name would have to be quoted`);
  return name;
}

/** Where only the user's attributes can be had, folders of the layers below cannot be renamed: those who try are told to copy (EXDEV). */
function optionsOf({ notes }: OverlayMeans, layers: { readonly lowers: readonly string[]; readonly dir?: string }): string {
  const { lowers, dir } = layers;
  const written = dir === undefined ? ["ro"] : [`upperdir=${plain(dir)}/${UPPER}`, `workdir=${plain(dir)}/work`, "volatile"];
  const kept = notes === "user" ? ["userxattr"] : ["redirect_dir=on", "metacopy=off"];
  return ["nosuid", "nodev", `lowerdir=${lowers.map(plain).join(":")}`, ...written, ...kept, "index=off"].join(",");
}

/** How a holder is started, in a run directory of its own. `copies`: a folder whose content is copied into another one first, once; names as those of the overlay. */
export function holderLaunch(means: OverlayMeans, overlay: Overlay, copies: { readonly from: string; readonly to: string } | null): Launch {
  return launchThatHolds(means, overlay, { copies, wait: "sleep 2147483647" });
}

function launchThatHolds(
  means: OverlayMeans,
  { root, dir, target, lowers }: Overlay,
  { copies, wait }: { readonly copies: { readonly from: string; readonly to: string } | null; readonly wait: string },
): Launch {
  const copied = copies === null ? ["", ""] : [copies.from, copies.to];
  const words = ["/bin/sh", "-c", HOLD, "runyard-holder", root, optionsOf(means, { lowers, dir }), target, dir, ...copied, wait];
  return { argv: [...ownMounts(means), ...words], env: { PATH: PATH_OF_PROGRAMS }, args: [], join: [] };
}

/** The words before those of a sandbox that is to be made inside of what is held. */
export function enterWords({ nsenter, env, notes }: OverlayMeans, holder: string): string[] {
  const user = notes === "user" ? '"--user=/proc/$pid/ns/user" --preserve-credentials' : "";
  return ["/bin/sh", "-c", enterScript(user), "runyard-enter", holder, env, nsenter];
}

/** The file that says who holds an overlay. */
export function holderFile(overlay: Pick<Overlay, "root" | "dir">): string {
  return path.join(overlay.root, overlay.dir, HOLDER);
}

/** Who holds an overlay now; null: nobody does. */
export function livingHolder(overlay: Pick<Overlay, "root" | "dir">): ShimPid | null {
  const pid = readPidFile(holderFile(overlay));
  return pid !== null && isSameProcess(pid) ? pid : null;
}

/** Where a holder's overlay is seen from outside. */
export function seenFromOutside(holder: Pick<ShimPid, "pid">, overlay: Pick<Overlay, "root" | "target">): string {
  return path.join(`/proc/${holder.pid}/root`, overlay.root, overlay.target);
}

/**
 * Calls `use` with a path at which an overlay is seen that nobody holds. What it opens beneath stays usable when it is over. Nothing
 * of it outlives this process: the one that shows it ends with its stdin.
 */
export async function whileShown<T>(means: OverlayMeans, overlay: Overlay, use: (place: string) => Promise<T>): Promise<T> {
  const { root, dir, target, lowers } = overlay;
  const options = optionsOf(means, { lowers: [`${dir}/${UPPER}`, ...lowers] });
  const words = [...ownMounts(means), "/bin/sh", "-c", SHOW, "runyard-show", root, options, target];
  const child = spawn(means.env, words, { env: { PATH: PATH_OF_PROGRAMS }, stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => undefined);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-500)));
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => reject(new Error(`the workspace could not be shown: ${said.trim()}`)));
      child.stdout.once("data", () => resolve());
    });
    return await use(seenFromOutside({ pid: child.pid ?? 0 }, overlay));
  } finally {
    child.stdin.end();
    child.kill("SIGKILL");
  }
}

const found = new Map<string, { readonly support: Promise<OverlaySupport>; readonly atMs: number }>();

/** Whether overlays can be had below a directory: one is really mounted there, entered and written, once. Where that fails it is tried again after a while. */
export async function overlaySupport(root: string): Promise<OverlaySupport> {
  const known = found.get(root);
  if (known !== undefined && ((await known.support).available || performance.now() - known.atMs < PROBE_AGAIN_MS)) return known.support;
  const support = probe(root).catch((error: unknown) => refused((error as Error).message));
  found.set(root, { support, atMs: performance.now() });
  return support;
}

function refused(reason: string): OverlaySupport {
  return { available: false, reason };
}

async function probe(root: string): Promise<OverlaySupport> {
  if (process.platform !== "linux") return refused("overlays need Linux");
  const programs: Record<string, string> = {};
  for (const name of ["unshare", "nsenter", "env", "mount"]) {
    const program = findProgram(name, SYSTEM_PATH);
    if (program === null) return refused(`the program ${name} is not installed (package util-linux)`);
    programs[name] = program;
  }
  const { unshare = "", nsenter = "", env = "" } = programs;
  const means: OverlayMeans = { unshare, nsenter, env, notes: process.getuid?.() === 0 ? "trusted" : "user" };
  for (const left of leftInTheMiddle(root)) removeTree(left);
  const dir = mkdtempSync(path.join(root, PROBE));
  try {
    for (const name of ["lower/folder", "overlay/upper", "target"]) mkdirSync(path.join(dir, name), { recursive: true, mode: 0o700 });
    writeFileSync(path.join(dir, "lower/folder/file"), "below");
    const overlay: Overlay = { root: dir, dir: "overlay", target: "target", lowers: ["lower"] };
    const failure = await tryOut(means, overlay);
    if (failure !== null) return refused(failure);
    const isSound =
      readFileSync(path.join(dir, "lower/folder/file"), "utf8") === "below" &&
      readFileSync(path.join(upperOf(overlay), "folder/file"), "utf8") === "above\n" &&
      lstatSync(path.join(upperOf(overlay), "folder")).isDirectory();
    return isSound ? { available: true, means } : refused("an overlay was mounted, and did not keep apart what was written");
  } finally {
    removeTree(dir);
  }
}

/** What was left by those who were killed while they tried it out, long enough ago that nobody is at it. */
function leftInTheMiddle(root: string): string[] {
  const dirs = readdirSync(root).filter((name) => name.startsWith(PROBE));
  return dirs
    .map((name) => path.join(root, name))
    .filter((dir) => Date.now() - (lstatSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > PROBE_AGAIN_MS);
}

/** Null, or why it did not work. */
async function tryOut(means: OverlayMeans, overlay: Overlay): Promise<string | null> {
  // It ends with its input, so that it does not outlive this process.
  const { argv, env } = launchThatHolds(means, overlay, { copies: null, wait: "cat" });
  const [program = "", ...words] = argv;
  const options = { env, cwd: overlay.root, timeout: PROBE_TIMEOUT_MS } as const;
  const holder = spawn(program, words, { ...options, stdio: ["pipe", "ignore", "pipe"] });
  let said = "";
  holder.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-300)));
  try {
    const ended = new Promise<string>((resolve) => {
      holder.once("error", (error) => resolve(error.message));
      holder.once("close", () => resolve(said.trim() || "it could not be mounted"));
    });
    const failure = await Promise.race([ended, isThere(path.join(overlay.root, "ready"))]);
    if (failure !== null) return failure;
    const [enter = "", ...rest] = enterWords(means, holderFile(overlay));
    const write = ["/bin/sh", "-c", 'echo above >"$1/folder/file"', "sh", path.join(overlay.root, overlay.target)];
    const inside = spawn(enter, [...rest, ...write], { ...options, stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    inside.stderr.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(-300)));
    return await new Promise((resolve) => {
      inside.once("error", (error) => resolve(error.message));
      inside.once("close", (code) => resolve(code === 0 ? null : complaint.trim() || "what is inside could not be entered"));
    });
  } finally {
    holder.kill("SIGKILL");
  }
}

async function isThere(file: string): Promise<null> {
  for (const end = Date.now() + PROBE_TIMEOUT_MS; Date.now() < end;) {
    const there = await access(file).then(
      () => true,
      () => false,
    );
    if (there) return null;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error("it was not mounted in time");
}
