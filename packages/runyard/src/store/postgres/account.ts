import { execFile } from "node:child_process";
import { chmodSync, chownSync, lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

/**
 * Who runs PostgreSQL, which refuses to run as root.
 * - `self`: the user of this process.
 * - `namespace`: still that user, but in a user namespace that shows it under an ordinary uid.
 * - `dedicated`: a uid of its own, which nothing else of Runyard may use (agents least of all).
 */
export type Account =
  | { readonly kind: "self" }
  | { readonly kind: "namespace"; readonly words: readonly string[] }
  | { readonly kind: "dedicated"; readonly uid: number; readonly initUid: number };

/** Above the uids of people and packages and below those that systemd hands out. */
const DEDICATED_UID = 60_770;

/** The best account that this machine offers. */
export async function chooseAccount(): Promise<Account> {
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && hasName()) return { kind: "self" };
  // initdb looks its user up by uid, so the namespace shows a uid that has a name on every system.
  const named = namedUid();
  const words = ["unshare", "--user", `--map-user=${named}`, `--map-group=${named}`, "--"];
  if (await canRun([...words, "true"])) return { kind: "namespace", words };
  return isRoot ? { kind: "dedicated", uid: DEDICATED_UID, initUid: named } : { kind: "self" };
}

/** How to start a program under an account: argument words and what `spawn` must be told. */
export function underAccount(
  account: Account,
  argv: readonly [string, ...string[]],
): { file: string; args: string[]; uid?: number; gid?: number } {
  const words = account.kind === "namespace" ? [...account.words, ...argv] : argv;
  const [file = argv[0], ...args] = words;
  return account.kind === "dedicated" ? { file, args, uid: account.uid, gid: account.uid } : { file, args };
}

/** Gives a file or a directory with all that is in it to the uid that PostgreSQL runs under. */
export function giveTo(account: Account, target: string): void {
  const uid = account.kind === "dedicated" ? account.uid : process.getuid?.();
  if (uid === undefined || lstatSync(target).uid === uid) return;
  chownTree(target, uid);
}

/** Like `giveTo`, for the uid that `initdb` runs under: it must have a name, which a dedicated one has not. */
export function giveToInit(account: Account, target: string): void {
  if (account.kind === "dedicated") chownTree(target, account.initUid);
}

/** Whether a uid is one that PostgreSQL runs under for us, now or after a change of account. */
export function isOurs(uid: number): boolean {
  const own = process.getuid?.();
  return uid === own || (own === 0 && uid === DEDICATED_UID);
}

/**
 * Lets a dedicated uid pass through directories of the home (pass, not list), and refuses a home that
 * it could not reach because of what lies above.
 */
export function openPathTo(account: Account, homeRoot: string, dirs: readonly string[]): void {
  if (account.kind !== "dedicated") return;
  for (let dir = path.dirname(homeRoot); ; dir = path.dirname(dir)) {
    if ((statSync(dir).mode & 0o001) === 0) throw new Error(unreachableMessage(homeRoot, dir));
    if (dir === path.dirname(dir)) break;
  }
  for (const dir of dirs) chmodSync(dir, statSync(dir).mode | 0o011);
}

function chownTree(target: string, uid: number): void {
  chownSync(target, uid, uid);
  if (!lstatSync(target).isDirectory()) return;
  for (const name of readdirSync(target)) {
    const entry = path.join(target, name);
    if (!lstatSync(entry).isSymbolicLink()) chownTree(entry, uid);
  }
}

function hasName(): boolean {
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
}

/** The first uid besides root's that `/etc/passwd` knows: `daemon` or `bin` everywhere. */
function namedUid(): number {
  try {
    const uids = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .map((line) => Number(line.split(":")[2] ?? "0"));
    return uids.find((uid) => Number.isSafeInteger(uid) && uid > 0) ?? 1;
  } catch {
    return 1;
  }
}

async function canRun([file = "", ...args]: readonly string[]): Promise<boolean> {
  return promisify(execFile)(file, args).then(
    () => true,
    () => false,
  );
}

function unreachableMessage(homeRoot: string, closed: string): string {
  return (
    `PostgreSQL cannot run as root, this machine gives no user namespaces, and no other user may enter ${closed}. ` +
    `Do one of these: run Runyard as an ordinary user; set RUNYARD_HOME to a place like /var/lib/runyard ` +
    `(now ${homeRoot}); or set DATABASE_URL to a PostgreSQL server of your own.`
  );
}
