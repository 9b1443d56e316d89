import { mkdtemp, open, readFile, rm, writeFile, type FileHandle } from "node:fs/promises";
import path from "node:path";
import type { Redactor } from "../redact.ts";
import { runHostCommand } from "../sandbox/step.ts";
import { harmless } from "./commit-result.ts";
import { git, GitError, type GitHost, hostGitEnvironment } from "./host-git.ts";

const TIMEOUT_MS = 10 * 60_000;
/** Findings that are told; one is enough. */
const MAX_FOUND = 5;
/** How much of the objects is unpacked at a time, and how much of that is looked through at once, in bytes. */
const BATCH_BYTES = 256 * 1024 * 1024;
const WINDOW_BYTES = 4 * 1024 * 1024;

/** A place of commits in which a secret stands. */
export interface SecretPlace {
  /** What stands for the secret. */
  readonly label: string;
  readonly commit: string;
  /** For people to read; null: it is in the commit itself, such as its message. */
  readonly file: string | null;
  /** From 1; null: it is in the file's name. */
  readonly line: number | null;
}

export interface ScanOptions {
  /** A repository that does not last: it is written to. */
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly redactor: Redactor;
  /** Smaller ones, for tests. */
  readonly windowBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks for secrets in everything that the commits behind `base` up to `head` bring: the commits with their messages and
 * names, the names of changed files, and the whole content of those, also of files that a later commit removed.
 */
export async function scanCommits(host: GitHost, options: ScanOptions): Promise<SecretPlace[]> {
  const { redactor } = options;
  if (redactor.isIdle) return [];
  const changes = await changesOf(host, options);
  const found: SecretPlace[] = [];
  const objects = new Map<string, { readonly commit: string; readonly file: string | null }>();
  for (const { commit, object, file } of changes) {
    const [inName] = file === null ? [] : redactor.findInText(file);
    const shown = file === null ? null : harmless(redactor.text(file));
    if (inName !== undefined) found.push({ label: inName.label, commit, file: shown, line: null });
    if (object !== null && !objects.has(object)) objects.set(object, { commit, file: shown });
  }
  await eachObject(host, { ...options, objects: [...objects.keys()] }, async (object, content) => {
    const place = objects.get(object);
    if (place === undefined || found.length >= MAX_FOUND) return;
    const first = await firstIn(content, redactor, options.windowBytes ?? WINDOW_BYTES);
    if (first !== null) found.push({ label: first.label, ...place, line: place.file === null ? null : first.line });
  });
  return found.slice(0, MAX_FOUND);
}

interface Change {
  readonly commit: string;
  /** Null: the change has no content, such as a submodule. */
  readonly object: string | null;
  readonly file: string | null;
}

const RECORD = /^:\d{6} (\d{6}) [0-9a-f]+ ([0-9a-f]+) [A-Z]\d*$/;

/** Every commit, and every file that it brought against any of its parents. */
async function changesOf(host: GitHost, { gitDir, base, head, signal }: ScanOptions): Promise<Change[]> {
  const words = ["log", "--format=%H", "--raw", "-z", "-m", "--root", "--no-abbrev", "--no-renames", "--no-color", "--no-show-signature"];
  const listed = await git(host, ["--git-dir", gitDir, ...words, `${base}..${head}`], { signal, timeoutMs: TIMEOUT_MS });
  const changes: Change[] = [];
  let commit = "";
  const tokens = listed.split("\0");
  for (let at = 0; at < tokens.length; at += 1) {
    const token = (tokens[at] ?? "").replace(/^\n+/, "");
    const record = RECORD.exec(token);
    if (record !== null) {
      const [, mode, object = ""] = record;
      at += 1;
      // What was removed has no object, and a submodule's is no file.
      const hasContent = mode !== "160000" && !/^0+$/.test(object);
      changes.push({ commit, object: hasContent ? object : null, file: tokens[at] ?? "" });
    } else if (/^[0-9a-f]{40,64}$/.test(token)) {
      commit = token;
      changes.push({ commit, object: commit, file: null });
    }
  }
  return changes;
}

interface Content {
  readonly handle: FileHandle;
  readonly start: number;
  readonly size: number;
}

/** Unpacks objects, some at a time, and calls `use` for each. */
async function eachObject(
  host: GitHost,
  options: ScanOptions & { readonly objects: readonly string[] },
  use: (object: string, content: Content) => Promise<void>,
): Promise<void> {
  // Where it goes with the repository, also when this process does not live to remove it.
  const dir = await mkdtemp(path.join(options.gitDir, "scan-"));
  try {
    const sizes = (await readFile(await catFiles(host, options, { dir, objects: options.objects, how: "--batch-check" }), "utf8")).split(
      "\n",
    );
    let batch: string[] = [];
    let bytes = 0;
    for (const line of sizes) {
      const [object = "", , size] = line.split(" ");
      if (size === undefined) continue;
      if (batch.length > 0 && bytes + Number(size) > BATCH_BYTES) {
        await useBatch(host, options, { dir, objects: batch, use });
        batch = [];
        bytes = 0;
      }
      batch.push(object);
      bytes += Number(size);
    }
    if (batch.length > 0) await useBatch(host, options, { dir, objects: batch, use });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function useBatch(
  host: GitHost,
  options: ScanOptions,
  batch: {
    readonly dir: string;
    readonly objects: readonly string[];
    readonly use: (object: string, content: Content) => Promise<void>;
  },
): Promise<void> {
  const file = await catFiles(host, options, { ...batch, how: "--batch" });
  const handle = await open(file, "r");
  try {
    let at = 0;
    for (const object of batch.objects) {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(200), 0, 200, at);
      const head = buffer.toString("latin1", 0, bytesRead).split("\n")[0] ?? "";
      const size = Number(head.split(" ")[2]);
      if (!head.startsWith(`${object} `) || !Number.isSafeInteger(size)) throw unreadable(`git gave ${JSON.stringify(head)} for ${object}`);
      await batch.use(object, { handle, start: at + head.length + 1, size });
      at += head.length + 1 + size + 1;
    }
  } finally {
    await handle.close();
    await rm(file, { force: true });
  }
}

/** By way of files: there may be more of it than is read from a command. */
async function catFiles(
  host: GitHost,
  { gitDir, signal }: ScanOptions,
  what: { readonly dir: string; readonly objects: readonly string[]; readonly how: "--batch" | "--batch-check" },
): Promise<string> {
  const [names, content] = [path.join(what.dir, "names"), path.join(what.dir, "content")];
  await writeFile(names, what.objects.map((object) => `${object}\n`).join(""), { mode: 0o600 });
  const result = await runHostCommand({
    spawner: host.spawner,
    stepsDir: host.stepsDir,
    argv: [
      "/bin/sh",
      "-c",
      'umask 077; exec git --git-dir="$1" cat-file "$2" --buffer <"$3" >"$4"',
      "sh",
      gitDir,
      what.how,
      names,
      content,
    ],
    env: hostGitEnvironment(host),
    timeoutMs: TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
  });
  if (result.code !== 0) throw new GitError(["cat-file"], result);
  return content;
}

/** The first secret in a content, and the line in which it begins. Parts are looked through with an overlap, so that none is cut in two. */
async function firstIn(content: Content, redactor: Redactor, windowBytes: number): Promise<{ label: string; line: number } | null> {
  // Each character may be written as an escape of several.
  const overlap = Math.min(8 * redactor.longest, windowBytes * 4);
  let line = 1;
  for (let at = 0; at < content.size; at += windowBytes) {
    const wanted = Math.min(windowBytes + overlap, content.size - at);
    const { buffer, bytesRead } = await content.handle.read(Buffer.alloc(wanted), 0, wanted, content.start + at);
    if (bytesRead !== wanted) throw unreadable("git gave less than it said");
    const text = buffer.toString("latin1");
    const [first] = redactor.find(text);
    if (first !== undefined) return { label: first.label, line: line + breaksIn(text.slice(0, first.start)) };
    line += breaksIn(text.slice(0, windowBytes));
  }
  return null;
}

function breaksIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

/** What cannot be looked through is not let through. */
function unreadable(reason: string): GitError {
  return new GitError(["cat-file"], { code: null, stderr: `the result cannot be looked through for secrets: ${reason}` });
}
