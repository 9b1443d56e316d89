import type { FileHandle } from "node:fs/promises";
import { RunyardError, type WorkspaceEntry, type WorkspaceList } from "@runyard/sdk/contract";
import type { Home } from "../home.ts";
import { namesIn, openBeneath, openIn, openToRead, type Place, targetOf } from "../sandbox/open-beneath.ts";
import type { RunRow } from "../store/run-row.ts";
import { workspaceAttempt } from "./directories.ts";
import { readingWorkspace } from "./overlay-workspace.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar.ts";

/** What is handed out of a workspace at most. */
export interface ReadLimits {
  /** Bytes of a file, and of the files of an archive together. */
  readonly bytes: number;
  /** Files, folders and links of an archive. */
  readonly entries: number;
  /** Folders in folders. Each of them is held open while it is read. */
  readonly depth: number;
  /** Entries of a list. */
  readonly listed: number;
}

export const READ_LIMITS: ReadLimits = { bytes: 2 * 1024 ** 3, entries: 200_000, depth: 100, listed: 10_000 };
const CHUNK_BYTES = 256 * 1024;

/** A file of a workspace, held open: its bytes are read by whoever takes them. */
export interface OpenedFile {
  readonly size: number;
  /** Ends with an error where the file has become shorter. Closes it, however that ends. */
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

/** What a folder of a workspace holds, by name; of a file, that file. `path`: names from the top; none: the top. */
export async function listWorkspace(workspace: string, path: readonly string[], limits = READ_LIMITS): Promise<WorkspaceList> {
  const place = await openBeneath(workspace, path);
  if (place === null) throw noFile(path);
  try {
    const at = path.join("/");
    if (place.type !== "directory") return { data: [entryOf(place, at)], truncated: false };
    const data: WorkspaceEntry[] = [];
    for await (const name of namesIn(place)) {
      if (data.length === limits.listed) return { data: sorted(data), truncated: true };
      const entry = await openIn(place, name);
      if (entry === null) continue;
      await entry.handle.close();
      data.push(entryOf(entry, [...path, Buffer.from(name).toString()].join("/")));
    }
    return { data: sorted(data), truncated: false };
  } finally {
    await place.handle.close();
  }
}

function entryOf({ type, size, modifiedMs, isExecutable }: Place, path: string): WorkspaceEntry {
  const modifiedAt = new Date(Math.min(Math.max(modifiedMs, -8.64e15), 8.64e15)).toISOString();
  return { path, type, size: type === "file" ? size : null, modifiedAt, executable: type === "file" && isExecutable };
}

function sorted(entries: readonly WorkspaceEntry[]): WorkspaceEntry[] {
  return entries.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Opens one file of a workspace. A link is not followed, and nothing is waited for. */
export async function openWorkspaceFile(workspace: string, path: readonly string[], limits = READ_LIMITS): Promise<OpenedFile> {
  const place = await openBeneath(workspace, path);
  if (place === null) throw noFile(path);
  try {
    if (place.type !== "file") throw noFile(path, place.type);
    if (place.size > limits.bytes) throw tooLarge(`${path.join("/")} has ${place.size} bytes`, limits);
    const file = await readable(place, path.join("/"));
    return { size: place.size, bytes: bytesOf(file, place.size, path.join("/")) };
  } finally {
    await place.handle.close();
  }
}

/**
 * A folder of a workspace as a tar archive, whose paths begin in that folder: files, folders, and links as links. What is
 * none of these is left out. Looked through once before its first byte, so that what cannot be handed out is refused and not
 * broken off; what grows beyond the limits meanwhile, or cannot be read any more, breaks it off.
 */
export async function archiveWorkspace(
  workspace: string,
  path: readonly string[],
  limits = READ_LIMITS,
): Promise<AsyncGenerator<Uint8Array, void>> {
  const top = await openBeneath(workspace, path);
  if (top === null) throw noFile(path);
  try {
    if (top.type !== "directory") throw noFile(path, top.type);
    for await (const piece of walk(top, { limits, withContent: false })) void piece;
  } catch (error) {
    await top.handle.close();
    throw error;
  }
  return (async function* () {
    try {
      yield* walk(top, { limits, withContent: true });
      yield TAR_END;
    } finally {
      await top.handle.close();
    }
  })();
}

interface Walk {
  readonly limits: ReadLimits;
  /** False: everything is looked at, and nothing handed out. */
  readonly withContent: boolean;
}

async function* walk(top: Place, { limits, withContent }: Walk): AsyncGenerator<Uint8Array, void> {
  const used = { entries: 0, bytes: 0 };
  const visit = async function* (directory: Place, before: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void> {
    if (before.length > limits.depth) throw tooLarge(`${textOf(before)} is deeper than ${limits.depth} folders`, limits);
    for await (const name of namesIn(directory)) {
      const place = await openIn(directory, name);
      if (place === null) continue; // gone meanwhile
      try {
        used.entries += 1;
        used.bytes += place.size;
        if (used.entries > limits.entries) throw tooLarge(`It holds more than ${limits.entries} files and folders`, limits);
        if (used.bytes > limits.bytes) throw tooLarge(`It holds more than ${limits.bytes} bytes`, limits);
        yield* hold(place, { directory, names: [...before, name] });
      } finally {
        await place.handle.close();
      }
    }
  };
  const hold = async function* (
    place: Place,
    { directory, names }: { readonly directory: Place; readonly names: readonly Uint8Array[] },
  ): AsyncGenerator<Uint8Array, void> {
    const { type } = place;
    if (type === "other") return;
    const entry = { ...place, type, path: joined(names) };
    if (type === "directory") {
      if (withContent) yield tarHeader(entry);
      yield* visit(place, names);
    } else if (type === "link") {
      const target = await targetOf(directory, names.at(-1) ?? "");
      if (withContent && target !== null) yield tarHeader({ ...entry, target });
    } else {
      const file = await readable(place, textOf(names));
      if (!withContent) return file.close();
      yield tarHeader(entry);
      yield* bytesOf(file, place.size, textOf(names));
      yield tarPadding(place.size);
    }
  };
  yield* visit(top, []);
}

function joined(names: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(names.flatMap((name, index) => (index === 0 ? [name] : [Buffer.from("/"), name])));
}

function textOf(names: readonly Uint8Array[]): string {
  return Buffer.from(joined(names)).toString();
}

/** Exactly so many bytes of a file, which is closed then. */
async function* bytesOf(file: FileHandle, size: number, path: string): AsyncGenerator<Uint8Array, void> {
  try {
    for (let left = size; left > 0;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(CHUNK_BYTES, left)));
      if (bytesRead === 0) throw new Error(`${path} has become shorter while it was read`);
      left -= bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function readable(place: Place, path: string): Promise<FileHandle> {
  try {
    return await openToRead(place);
  } catch (error) {
    if (!["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    throw new RunyardError(
      "file_not_readable",
      `${path} may not be read by the user of the server. Give it the right: runyard shell <run> -- chmod u+r ${path}`,
    );
  }
}

function noFile(path: readonly string[], type?: Place["type"]): RunyardError {
  const name = path.join("/");
  const words = {
    directory: `${name} is a folder of the workspace: ask for its archive.`,
    link: `${name} is a link, and links are not followed: ask for what it leads to.`,
    other: `${name} is no file with content.`,
    file: `${name} is a file of the workspace, and no folder.`,
  };
  return new RunyardError(
    "file_not_found",
    type === undefined ? `The workspace has no ${name === "" ? "folder" : name}, or a link on the way to it.` : words[type],
  );
}

function tooLarge(what: string, limits: ReadLimits): RunyardError {
  const most = `${limits.bytes} bytes in ${limits.entries} files and folders`;
  return new RunyardError("file_too_large", `${what}, more than the server hands out at a time (${most}). Ask for less of it.`);
}

/** The same by run; null where a run has no workspace here. */
export function workspaceReader(home: Home) {
  const inWorkspace = async <T>(run: RunRow, use: (workspace: string) => Promise<T>): Promise<T | null> => {
    const attempt = workspaceAttempt(home, run);
    return attempt === null ? null : readingWorkspace(home, { id: run.id, attempt }, use);
  };
  return {
    list: (run: RunRow, path: readonly string[]) => inWorkspace(run, (workspace) => listWorkspace(workspace, path)),
    file: (run: RunRow, path: readonly string[]) => inWorkspace(run, (workspace) => openWorkspaceFile(workspace, path)),
    archive: (run: RunRow, path: readonly string[]) =>
      inWorkspace(run, async (workspace) => ({ size: null, bytes: await archiveWorkspace(workspace, path) })),
  };
}
