import { constants } from "node:fs";
import { type FileHandle, open, opendir, readlink } from "node:fs/promises";

/** O_PATH of Linux: a file as a place, which is neither read nor waited for, whatever it is. Node does not name it. */
const O_PATH = 0o10000000;

export type EntryType = "file" | "directory" | "link" | "other";

/** A file or directory that cannot be exchanged for another one any more. */
export interface Place {
  readonly handle: FileHandle;
  readonly type: EntryType;
  /** Bytes of a file; 0 for anything else. */
  readonly size: number;
  readonly modifiedMs: number;
  readonly isExecutable: boolean;
}

/**
 * Takes hold of what lies at a path below a directory, name by name, each looked up in the directory that is held already:
 * no link is followed, and nobody who moves or exchanges directories meanwhile can lead this elsewhere. Null where there
 * is nothing, or a link or file in the middle of the path. Whoever asks closes the handle.
 */
export async function openBeneath(root: string, names: readonly Name[]): Promise<Place | null> {
  let place = await placeAt(root);
  for (const name of names) {
    const directory = place;
    try {
      place = directory?.type === "directory" ? await openIn(directory, name) : null;
    } finally {
      await directory?.handle.close();
    }
  }
  return place;
}

/** A name in a directory: as text, or as the bytes that the disk has. */
export type Name = string | Uint8Array;

/** The same for one name in a directory that is held. */
export async function openIn(directory: Place, name: Name): Promise<Place | null> {
  return placeAt(below(directory, name));
}

/** The names in a directory, as bytes, in the order of the disk. */
export async function* namesIn(directory: Place): AsyncGenerator<Uint8Array, void> {
  // A Dirent's name is a Buffer with this encoding, whatever its type says.
  for await (const { name } of await opendir(pathOf(directory), { encoding: "buffer" as BufferEncoding }))
    yield name as unknown as Uint8Array;
}

/** Opens the very file for reading. Throws where this user may not. */
export function openToRead(file: Place): Promise<FileHandle> {
  return open(pathOf(file), constants.O_RDONLY | constants.O_NONBLOCK);
}

/** Where a link leads, as it says. */
export async function targetOf(directory: Place, name: Name): Promise<Uint8Array | null> {
  return readlink(below(directory, name), { encoding: "buffer" }).catch(() => null);
}

/** The kernel's own name for what a descriptor holds. */
function pathOf({ handle }: Place): string {
  return `/proc/self/fd/${handle.fd}`;
}

function below(directory: Place, name: Name): Buffer {
  const bytes = Buffer.from(name);
  if (bytes.length === 0 || bytes.includes("/") || bytes.includes(0) || bytes.equals(Buffer.from(".")) || bytes.equals(Buffer.from("..")))
    throw new Error("This is no name in a directory");
  return Buffer.concat([Buffer.from(`${pathOf(directory)}/`), bytes]);
}

async function placeAt(file: string | Buffer): Promise<Place | null> {
  let handle: FileHandle;
  try {
    handle = await open(file, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (["ENOENT", "ENOTDIR", "ELOOP", "EACCES", "ENAMETOOLONG"].includes(code ?? "")) return null;
    throw error;
  }
  try {
    const stat = await handle.stat();
    const type = stat.isFile() ? "file" : stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "link" : "other";
    return { handle, type, size: stat.isFile() ? stat.size : 0, modifiedMs: stat.mtimeMs, isExecutable: (stat.mode & 0o100) !== 0 };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
