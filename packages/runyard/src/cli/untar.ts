import { constants, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { CliError } from "./exit-codes.ts";

const BLOCK = 512;
const ZERO_BLOCK = Buffer.alloc(BLOCK);
/** Longest name and longest target of a link that is taken. */
const MOST_NAME_BYTES = 64 * 1024;

/** What came out of an archive. */
export interface Extracted {
  readonly files: number;
  readonly bytes: number;
  /** Links that lead out of the folder, or may: they are not made. */
  readonly skipped: readonly string[];
}

/**
 * Writes a tar archive of a run's workspace below a folder, which must be new or empty. What is in it is believed in
 * nothing: absolute paths and `..` end it, so does everything that is neither file, folder nor link; links are made last,
 * so that nothing is written through one, and only where they cannot lead out of the folder. Of rights, the one to execute
 * is kept.
 */
export async function untar(pieces: AsyncIterable<Uint8Array>, folder: string): Promise<Extracted> {
  mkdirSync(folder, { recursive: true });
  if (readdirSync(folder).length > 0)
    throw new CliError(`${folder} is not empty.`, { advice: "Name a folder that is new or empty; nothing is written over." });
  const input = new Blocks(pieces);
  try {
    return await unpack(input, folder);
  } finally {
    await input.close();
  }
}

async function unpack(input: Blocks, folder: string): Promise<Extracted> {
  const links: { readonly path: string; readonly target: string }[] = [];
  const skipped: string[] = [];
  const long: { name?: string; target?: string } = {};
  let [files, bytes] = [0, 0];
  for (;;) {
    const header = await input.read(BLOCK);
    if (header.equals(ZERO_BLOCK)) break;
    const { type, size, ...entry } = parseHeader(header);
    if (type === "L" || type === "K") {
      if (size > MOST_NAME_BYTES) throw damaged("a name in it is too long");
      const word = (await input.read(padded(size))).subarray(0, size).toString("latin1").replace(/\0.*$/s, "");
      long[type === "L" ? "name" : "target"] = word;
      continue;
    }
    const path = checkedPath(long.name ?? entry.name);
    const target = long.target ?? entry.target;
    delete long.name;
    delete long.target;
    if (type === "5") mkdirSync(at(folder, path), { recursive: true });
    else if (type === "2") links.push({ path, target });
    else if (type === "0" || type === "\0") {
      await writeFile(at(folder, path), { input, size, isExecutable: entry.isExecutable });
      [files, bytes] = [files + 1, bytes + size];
    } else throw damaged(`${JSON.stringify(text(path))} is neither a file nor a folder nor a link`);
  }
  for (const { path, target } of links) {
    if (staysInside(path, target)) symlinkSync(Buffer.from(target, "latin1"), at(folder, path));
    else skipped.push(text(path));
  }
  return { files, bytes, skipped };
}

async function writeFile(
  file: Buffer,
  { input, size, isExecutable }: { input: Blocks; size: number; isExecutable: boolean },
): Promise<void> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const handle: FileHandle = await open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, isExecutable ? 0o755 : 0o644);
  try {
    for (let left = size; left > 0;) {
      const piece = await input.some(left);
      await handle.writeFile(piece);
      left -= piece.length;
    }
    await input.read(padded(size) - size);
  } finally {
    await handle.close();
  }
}

/** Names are bytes of any kind, one a character here (latin1). */
function checkedPath(name: string): string {
  const path = name.replace(/\/+$/, "");
  const parts = path.split("/");
  if (path.includes("\0") || parts.some((part) => part === "" || part === "." || part === ".."))
    throw damaged(`it holds ${JSON.stringify(text(name))}, which is no path in a folder`);
  return path;
}

/**
 * Whether a link stays in the folder whatever the other links in it are: `..` comes first, where only real folders are on
 * the way, and not behind a name, which may be a link itself.
 */
function staysInside(path: string, target: string): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0")) return false;
  const names = target.split("/").filter((name) => name !== "" && name !== ".");
  const ups = names.findIndex((name) => name !== "..");
  const climbs = ups === -1 ? names.length : ups;
  return climbs <= path.split("/").length - 1 && !names.slice(climbs).includes("..");
}

function at(folder: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(path, "latin1")]);
}

function text(path: string): string {
  return Buffer.from(path, "latin1").toString();
}

function parseHeader(block: Buffer) {
  const word = (from: number, length: number): string => block.toString("latin1", from, from + length).replace(/\0.*$/s, "");
  const number = (from: number, length: number): number => {
    const digits = word(from, length).trim();
    if (!/^[0-7]{0,12}$/.test(digits)) throw damaged("a header is not understood");
    return parseInt(digits || "0", 8);
  };
  const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (number(148, 8) !== sum) throw damaged("a header's sum is wrong");
  return {
    name: word(0, 100),
    isExecutable: (number(100, 8) & 0o100) !== 0,
    size: number(124, 12),
    type: block.toString("latin1", 156, 157),
    target: word(157, 100),
  };
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function damaged(why: string): CliError {
  return new CliError(`The archive cannot be unpacked: ${why}.`, { advice: "What was written so far is left where it is." });
}

/** Pieces of any length, read in lengths of one's own. */
class Blocks {
  private readonly pieces: AsyncIterator<Uint8Array>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.pieces = pieces[Symbol.asyncIterator]();
  }

  /** Lets go of what gives the pieces, wherever it is. */
  async close(): Promise<void> {
    await this.pieces.return?.();
  }

  /** At least one byte, and so many at most. */
  async some(most: number): Promise<Buffer> {
    while (this.rest.length === 0) {
      const next = await this.pieces.next();
      if (next.done === true) throw damaged("it ends in the middle");
      this.rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    const taken = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(taken.length);
    return taken;
  }

  /** Exactly so many. */
  async read(length: number): Promise<Buffer> {
    const taken: Buffer[] = [];
    for (let left = length; left > 0;) {
      const piece = await this.some(left);
      taken.push(piece);
      left -= piece.length;
    }
    return Buffer.concat(taken);
  }
}
