import { spawn, type StdioOptions } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import type { Duplex } from "node:stream";
import { CliError } from "./exit-codes.ts";

/**
 * Becomes the command of a run directory, with the terminal (or whatever it has) as it is: what a shim does, without a
 * journal. It joins the control groups and says who it is. INT and QUIT are for the program inside, and not for what is around it.
 */
const ATTACH = `umask 077
cd "$1" || exit 98
refuse() { echo "runyard: the shell was not started: $1" >&2; exit 97; }
set -C
{ true >started; } 2>/dev/null || refuse "it was ended before it began, or begun before"
set +C
while IFS= read -r procs; do
  { echo 0 >"$procs"; } 2>/dev/null || echo "runyard: its limits are not kept: $procs cannot be joined" >&2
done <join
mkfifo alive || refuse "its directory cannot be written"
read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat || refuse "/proc is not there"
set -- \${stat##*) }; shift 19
echo "$$ $1 $boot" >pid || refuse "its directory cannot be written"
[ ! -e args ] || exec 9<args
[ ! -e filter ] || exec 8<filter
rm -f args
umask 022
trap '' INT QUIT
. ./cmd
exec "$@"`;

/** The descriptor by which the sandbox says that it is there, and learns that this process is. */
const HANDSHAKE = 7;
/** O_CLOEXEC, as the kernel shows it. */
const CLOSED_ON_EXEC = 0o2000000;

/**
 * The terminal, the handshake, and nothing else that this process was started with and that a child would inherit:
 * those lead nowhere.
 */
function descriptorsForChild(): StdioOptions & unknown[] {
  const inherited = readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => {
      const flags = flagsOf(fd);
      return flags !== null && (flags & CLOSED_ON_EXEC) === 0;
    });
  const length = Math.max(HANDSHAKE, ...inherited) + 1;
  return Array.from({ length }, (_, fd) => (fd <= 2 ? "inherit" : fd === HANDSHAKE ? "pipe" : "ignore"));
}

function flagsOf(fd: number): number | null {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
    return flags === undefined ? null : parseInt(flags, 8);
  } catch {
    return null; // closed meanwhile
  }
}

/**
 * Starts what the server has prepared in a directory, attached to this process's stdin, stdout and stderr, and gives its
 * exit code (128 and the number after a signal). It begins only once everything around it would end with this process,
 * however that ends.
 */
export async function attach(directory: string): Promise<number> {
  const child = spawn("/bin/sh", ["-c", ATTACH, "runyard-shell", directory], {
    env: { PATH: "/usr/local/bin:/usr/bin:/bin" },
    stdio: descriptorsForChild(),
  });
  const handshake = (child.stdio as readonly unknown[])[HANDSHAKE] as Duplex;
  // bwrap and its first process are there by now, and the kernel ends both with this one.
  let held: number[] = [];
  handshake.once("data", () => {
    try {
      // By these the server knows that it lives, and finds whom to end: bwrap keeps nothing open itself.
      held = [openSync(path.join(directory, "alive"), "r+"), openSync(path.join(directory, "err"), "a")];
      handshake.write("go\n");
    } catch {
      endChild(); // it was ended before it began
    }
  });
  handshake.on("error", () => undefined);
  const endChild = (): void => void child.kill("SIGKILL");
  const nothing = (): void => undefined;
  const signals = [
    ["SIGINT", nothing],
    ["SIGQUIT", nothing],
    ["SIGTERM", endChild],
    ["SIGHUP", endChild],
  ] as const;
  for (const [signal, act] of signals) process.on(signal, act);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (error) => reject(new CliError(`The shell could not be started: ${error.message}`)));
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const [signal, act] of signals) process.off(signal, act);
    handshake.destroy();
    for (const fd of held.toReversed()) closeSync(fd); // once `alive` is let go of, whoever holds `err` is ended
  }
}
