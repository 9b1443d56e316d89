import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const AGENT = fileURLToPath(new URL("../programs/agent.sh", import.meta.url));

/** Of a file, by one commit. */
const CHANGED_BYTES = 1_800;

export interface LargeRepository {
  readonly commits: number;
  readonly files: number;
  /** Of each file. */
  readonly bytes: number;
  /** Files that each commit changes, at most. */
  readonly changed: number;
  /** Files that all commits have besides. */
  readonly more?: Readonly<Record<string, Buffer | string>>;
}

/** A repository with a long history of a large tree, made without a network; it holds the least agent. */
export async function makeLargeRepository(root: string, { commits, files, bytes, changed, more = {} }: LargeRepository): Promise<string> {
  const repository = path.join(root, "large");
  mkdirSync(repository, { recursive: true });
  execFileSync("git", ["init", "-q", "-b", "main", repository]);
  const child = spawn("git", ["-C", repository, "fast-import", "--quiet"], { stdio: ["pipe", "ignore", "inherit"] });
  const next = numbers();
  const write = async (piece: Buffer | string): Promise<void> => {
    if (!child.stdin.write(piece)) await once(child.stdin, "drain");
  };
  const data = async (content: Buffer | string): Promise<void> => {
    await write(`data ${Buffer.byteLength(content)}\n`);
    await write(content);
    await write("\n");
  };
  // Which files each commit changes, and how often each is changed in all.
  const changes = Array.from({ length: commits - 1 }, () => new Set(Array.from({ length: changed }, () => next() % files)));
  const versions = Array.from({ length: files }, () => 1);
  for (const file of changes.flatMap((touched) => [...touched])) versions[file] = (versions[file] ?? 0) + 1;
  // One file behind the other, the newest first: git keeps what comes behind its like as a difference to it, as its own packs do.
  const first: number[] = [];
  let mark = 0;
  for (const count of versions) {
    first.push(mark + 1);
    const texts = [textOf(next, bytes)];
    for (let version = 1; version < count; version += 1) {
      const text = Buffer.from(texts[version - 1] ?? "");
      textOf(next, CHANGED_BYTES).copy(text, next() % (bytes - CHANGED_BYTES));
      texts.push(text);
    }
    for (const [version, text] of [...texts.entries()].toReversed()) {
      await write(`blob\nmark :${mark + 1 + version}\n`);
      await data(text);
    }
    mark += count;
  }
  const commit = (at: number): Promise<void> =>
    write(`commit refs/heads/main\ncommitter B <b@bench.invalid> ${1_700_000_000 + at} +0000\ndata 2\nx\n`);
  const newest = [...first];
  await commit(0);
  for (const [index, version] of first.entries()) await write(`M 100644 :${version} ${nameOf(index)}\n`);
  for (const [name, content] of [["agent.sh", readFileSync(AGENT)] as const, ...Object.entries(more)]) {
    await write(`M ${name === "agent.sh" ? "100755" : "100644"} inline ${name}\n`);
    await data(content);
  }
  for (const [at, touched] of changes.entries()) {
    await commit(at + 1);
    for (const index of touched) {
      newest[index] = (newest[index] ?? 0) + 1;
      await write(`M 100644 :${newest[index]} ${nameOf(index)}\n`);
    }
  }
  child.stdin.end();
  const [code] = (await once(child, "close")) as [number];
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`);
  execFileSync("git", ["-C", repository, "reset", "-q", "--hard"]);
  return repository;
}

function nameOf(index: number): string {
  return `src/part-${index % 40}/section-${index % 7}/file-${index}.ts`;
}

/** The same numbers each time. */
function numbers(): () => number {
  let state = 42;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 4;
  };
}

function textOf(next: () => number, bytes: number): Buffer {
  const words: string[] = [];
  for (let length = 0; length < bytes; length += 9)
    words.push(`${next().toString(36).padEnd(8, "_").slice(0, 8)}${next() % 9 === 0 ? "\n" : " "}`);
  return Buffer.from(words.join("").slice(0, bytes));
}
