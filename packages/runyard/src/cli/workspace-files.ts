import type { RunyardClient } from "@runyard/sdk";
import type { WorkspaceEntry, WorkspaceList } from "@runyard/sdk/contract";
import { renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { CliError, EXIT } from "./exit-codes.ts";
import { bytes, paintFor, plural, print, printable, printableName, printJson, say, type Paint } from "./output.ts";
import { untar } from "./untar.ts";

export interface Wanted {
  readonly id: string;
  /** From the top of the workspace; empty: the top. */
  readonly path: string;
  /** Where to write it; null: a list, or a file's content, on stdout. */
  readonly output: string | null;
  readonly json: boolean;
}

/** Lists or fetches what is in a run's workspace; `show` writes a file's content to a terminal. */
export async function workspaceFiles(client: RunyardClient, wanted: Wanted, show: (content: Uint8Array) => void): Promise<void> {
  const { id, output, json } = wanted;
  const list = await client.runs.workspace(id, wanted.path);
  const [only] = list.data;
  const isFile = list.data.length === 1 && only !== undefined && only.path === wanted.path && only.type !== "directory";
  if (output === null) {
    if (!isFile || json) return showList(list, json);
    const pieces = client.runs.workspaceFile(id, wanted.path);
    if (process.stdout.isTTY) return show(await collect(pieces));
    for await (const piece of pieces) await new Promise((resolve) => process.stdout.write(piece, resolve));
    return;
  }
  const isFolder = statSync(output, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isFile) {
    const file = isFolder ? path.join(output, path.posix.basename(wanted.path)) : output;
    const size = await writeTo(file, client.runs.workspaceFile(id, wanted.path));
    return told({ output: file, files: 1, bytes: size, skipped: [] }, json);
  }
  const archive = client.runs.workspaceArchive(id, wanted.path);
  if (output.endsWith(".tar") && !isFolder) return told({ output, files: null, bytes: await writeTo(output, archive), skipped: [] }, json);
  told({ output, ...(await untar(archive, output)) }, json);
}

/** Writes a file that is there whole or not at all. */
export async function writeTo(file: string, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<number> {
  const draft = `${file}.${process.pid}.part`;
  let size = 0;
  try {
    const handle = await open(draft, "wx", 0o644);
    try {
      for await (const piece of pieces) {
        await handle.writeFile(piece);
        size += piece.byteLength;
      }
    } finally {
      await handle.close();
    }
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EISDIR" || code === "EACCES" || code === "ENOTDIR")
      throw new CliError(`${file} cannot be written: ${(error as Error).message}`, { exitCode: EXIT.usage });
    throw error;
  }
  return size;
}

interface Written {
  readonly output: string;
  /** Null: they were not counted. */
  readonly files: number | null;
  readonly bytes: number;
  readonly skipped: readonly string[];
}

function told(written: Written, json: boolean): void {
  if (json) return printJson(written);
  const { output, files, skipped } = written;
  say(`${files === null ? "An archive" : plural(files, "file")} of ${bytes(written.bytes)} in ${printable(output)}`);
  if (skipped.length > 0)
    say(`Not made, since they lead out of it: ${plural(skipped.length, "link")}: ${skipped.slice(0, 10).map(printable).join(", ")}`);
}

function showList(list: WorkspaceList, json: boolean): void {
  if (json) return printJson(list);
  if (list.data.length === 0) return say("There is nothing in this folder.");
  for (const line of renderEntries(list.data, paintFor(process.stdout))) print(line);
  if (list.truncated) say(`Only ${list.data.length.toLocaleString("en-US")} of them are listed.`);
}

const MARK = { directory: "/", file: "", link: "@", other: "|" } as const;

function renderEntries(entries: readonly WorkspaceEntry[], paint: Paint): string[] {
  const size = (entry: WorkspaceEntry): string => (entry.size === null ? "" : bytes(entry.size));
  const width = Math.max(...entries.map((entry) => size(entry).length));
  return entries.map((entry) => {
    const mark = entry.executable ? "*" : MARK[entry.type];
    return `${paint("dim", entry.modifiedAt.slice(0, 16).replace("T", " "))}  ${size(entry).padStart(width)}  ${printableName(entry.path)}${mark}`;
  });
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}
