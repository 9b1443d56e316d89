import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const AGENT = fileURLToPath(new URL("../programs/agent.sh", import.meta.url));

export interface LargeRepository {
  readonly commits: number;
  readonly files: number;
  /** Of each file. */
  readonly bytes: number;
  /** Files that the last commit has besides. */
  readonly more?: Readonly<Record<string, Buffer | string>>;
}

/** A repository with a long history of a large tree, made without a network; it holds the least agent. */
export async function makeLargeRepository(root: string, { commits, files, bytes, more = {} }: LargeRepository): Promise<string> {
  const repository = path.join(root, "large");
  mkdirSync(repository, { recursive: true });
  execFileSync("git", ["init", "-q", "-b", "main", repository]);
  const child = spawn("git", ["-C", repository, "fast-import", "--quiet"], { stdio: ["pipe", "ignore", "inherit"] });
  const next = numbers();
  const write = async (piece: Buffer | string): Promise<void> => {
    if (!child.stdin.write(piece)) await once(child.stdin, "drain");
  };
  const file = async (name: string, content: Buffer | string, mode = "100644"): Promise<void> => {
    await write(`M ${mode} inline ${name}\ndata ${Buffer.byteLength(content)}\n`);
    await write(content);
    await write("\n");
  };
  const texts = Array.from({ length: files }, () => textOf(next, bytes));
  for (let at = 0; at < commits; at += 1) {
    await write(`commit refs/heads/main\ncommitter B <b@bench.invalid> ${1_700_000_000 + at} +0000\ndata 2\nx\n`);
    if (at === 0) {
      for (const [index, text] of texts.entries()) await file(nameOf(index), text);
      await file("agent.sh", readFileSync(AGENT), "100755");
      for (const [name, content] of Object.entries(more)) await file(name, content);
      continue;
    }
    const index = next() % files;
    const changed = Buffer.from(texts[index] ?? "");
    textOf(next, 400).copy(changed, next() % (bytes - 400));
    texts[index] = changed;
    await file(nameOf(index), changed);
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
