import { createHash } from "node:crypto";
import { constants, type Dirent, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Redactor } from "../redact.ts";

/** How much of a file is looked through at once, in bytes: between two of them others get their turn. */
const WINDOW_BYTES = 256 * 1024;

/** A file, link or folder below a folder that a sandbox has written. No link is ever followed. */
interface Entry {
  /** With `/`, from the top, as text: for people, and to be looked through. */
  readonly name: string;
  /** Where it lies, by its bytes: a name need not be text. */
  readonly file: Buffer;
  readonly kind: "file" | "folder" | "link";
}

/** Everything below a folder, in the order of names. Throws where it cannot be read, or where something else lies there. */
async function* entriesOf(top: Buffer, below = ""): AsyncGenerator<Entry> {
  await nextTurn();
  const found = readdirSync(top, { withFileTypes: true, encoding: "buffer" });
  const named = found.map((entry) => ({ entry, text: entry.name.toString() }));
  for (const { entry, text } of named.toSorted((a, b) =>
    a.text < b.text ? -1 : a.text > b.text ? 1 : a.entry.name.compare(b.entry.name),
  )) {
    const name = below === "" ? text : `${below}/${text}`;
    const kind = kindOf(entry);
    if (kind === null) throw new Error(`${name} is neither a file nor a folder nor a link`);
    const file = Buffer.concat([top, Buffer.from("/"), entry.name]);
    yield { name, file, kind };
    if (kind === "folder") yield* entriesOf(file, name);
  }
}

function kindOf(entry: Dirent<Buffer>): Entry["kind"] | null {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  return entry.isSymbolicLink() ? "link" : null;
}

/** What a folder holds, so that it can be told later whether anything of it is gone or was changed. */
export interface Measured {
  /** SHA-256 over name, kind, rights, size and time of every file, and where links lead. */
  readonly fingerprint: string;
  readonly files: number;
  /** On the disk. */
  readonly bytes: number;
}

/** Measures a folder without reading its files. Throws where something cannot be looked at. */
export async function measure(top: string): Promise<Measured> {
  const hash = createHash("sha256");
  let files = 0;
  let bytes = 0;
  for await (const { name, file, kind } of entriesOf(Buffer.from(top))) {
    const { mode, size, mtimeMs, blocks } = lstatSync(file);
    // Of folders, size and time are the file system's own.
    const what = kind === "file" ? [size, mtimeMs] : kind === "link" ? [readlinkSync(file)] : [];
    hash.update(`${JSON.stringify([name, kind, mode & 0o7777, ...what])}\n`);
    files += 1;
    bytes += blocks * 512;
  }
  return { fingerprint: hash.digest("hex"), files, bytes };
}

/** The first secret that stands in a folder, in a file, a name or where a link leads; null: none is found. */
export async function findSecret(top: string, redactor: Redactor): Promise<{ readonly label: string; readonly file: string } | null> {
  if (redactor.isIdle) return null;
  for await (const { name, file, kind } of entriesOf(Buffer.from(top))) {
    const [inText] = redactor.findInText(kind === "link" ? `${name}\n${readlinkSync(file)}` : name);
    const label = inText?.label ?? (kind === "file" ? await firstIn(file, redactor) : null);
    if (label !== null) return { label, file: redactor.text(name) };
  }
  return null;
}

async function firstIn(file: Buffer, redactor: Redactor): Promise<string | null> {
  // Each character may be written as an escape of several.
  const overlap = 8 * redactor.longest;
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const buffer = Buffer.alloc(WINDOW_BYTES + overlap);
    for (let at = 0; ; at += WINDOW_BYTES) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      const [first] = redactor.find(buffer.toString("latin1", 0, bytesRead));
      if (first !== undefined) return first.label;
      if (bytesRead < buffer.length) return null;
    }
  } finally {
    await handle.close();
  }
}
