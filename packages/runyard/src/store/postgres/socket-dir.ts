import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { giveTo, isOurs, type Account } from "./account.ts";

/** Makes the directory of PostgreSQL's socket, which nobody but PostgreSQL's user (and root) may enter. */
export function makeSocketDir(dir: string, account: Account): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (!isSocketDirOurs(dir)) throw new Error(`${dir} belongs to somebody else: remove it, or set RUNYARD_HOME to another place.`);
  chmodSync(dir, 0o700);
  giveTo(account, dir);
}

/** Whether what listens there can be ours: where a home's path is long, the directory lies in the shared temporary directory. */
export function isSocketDirOurs(dir: string): boolean {
  const found = lstatSync(dir, { throwIfNoEntry: false });
  return found !== undefined && found.isDirectory() && isOurs(found.uid);
}
