import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { git, type GitHost, tryGit } from "./host-git.ts";
import { type ListedFile, listFilesArgs, parseListedFiles } from "./listed-files.ts";
import { requireObjectName } from "./names.ts";

export interface FileRequest {
  readonly cachePath: string;
  readonly commit: string;
  /** From the top of the tree, with slashes. */
  readonly path: string;
  readonly maxBytes: number;
}

/** A file's bytes (of a symbolic link: its target), how large it is where that is too large, or null where there is none. */
export type FoundFile = { readonly bytes: Uint8Array } | { readonly tooLarge: number } | null;

/** Reads a file of a commit as it is stored: no filters, no line ends changed. */
export async function readCommittedFile(host: GitHost, request: FileRequest): Promise<FoundFile> {
  const found = await findBlob(host, request);
  if (found === null) return null;
  if (found.size > request.maxBytes) return { tooLarge: found.size };
  return { bytes: await readBlob(host, request.cachePath, found.name) };
}

async function findBlob(host: GitHost, { cachePath, commit, path: file }: FileRequest): Promise<ListedFile | null> {
  const { code, stdout } = await tryGit(host, listFilesArgs(cachePath, commit, [file]), { env: { GIT_LITERAL_PATHSPECS: "1" } });
  return code === 0 ? (parseListedFiles(stdout).find((listed) => listed.path === file) ?? null) : null;
}

/** What a command says is read as text: the bytes of a file come by way of a file. */
async function readBlob(host: GitHost, cachePath: string, name: string): Promise<Uint8Array> {
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, "file-"));
  try {
    const unpacked = await git(host, ["--git-dir", path.resolve(cachePath), "unpack-file", requireObjectName(name)], { cwd: dir });
    return await readFile(path.join(dir, path.basename(unpacked.trim())));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
