import { chmodSync, type Dirent, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";

/** A path may have 4,096 bytes: what lies deeper is moved up before. */
const LONG_PATH = 2_000;
const SLASH = Buffer.from("/");

/**
 * Makes everything below a directory removable: writable for its owner, and no deeper than a path can name. Returns
 * further directories, beside `top`, that hold what was too deep.
 */
function loosen(top: Buffer, beside: (name: string) => Buffer): Buffer[] {
  const moved: Buffer[] = [];
  const left = [top];
  for (let dir = left.pop(); dir !== undefined; dir = left.pop()) {
    chmodSync(dir, 0o700);
    for (const entry of readdirSync(dir, { withFileTypes: true, encoding: "buffer" }) as Dirent<Buffer>[]) {
      if (!entry.isDirectory()) continue;
      const file = Buffer.concat([dir, SLASH, entry.name]);
      if (file.length < LONG_PATH) left.push(file);
      else {
        const higher = beside(String(moved.length));
        chmodSync(file, 0o700); // a directory that is not writable itself cannot be moved
        renameSync(file, higher);
        moved.push(higher);
        left.push(higher);
      }
    }
  }
  return moved;
}

/**
 * Removes a directory with everything in it, also where a command took the owner's right to write away, or where what
 * it left lies deeper than a path can be long.
 */
export function removeTree(dir: string): void {
  try {
    rmSync(dir, { recursive: true, force: true });
  } catch (error) {
    if (!["EACCES", "EPERM", "ENOTEMPTY", "ENAMETOOLONG"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    const aside = mkdtempSync(`${dir}.deep-`);
    loosen(Buffer.from(dir), (name) => Buffer.from(path.join(aside, name)));
    for (const each of [dir, aside]) rmSync(each, { recursive: true, force: true, maxRetries: 3 });
  }
}
