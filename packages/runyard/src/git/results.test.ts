import { symlinkSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { changedFiles, diffFiles } from "./changed-files.ts";
import type { CommitPair } from "./diff.ts";
import { readCommittedFile } from "./read-file.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
let pair: CommitPair;
const binary = Uint8Array.from({ length: 3_000 }, (_, i) => (i * 7) % 256);
const long = Array.from({ length: 40 }, (_, i) => `line ${i}\n`).join("");

beforeAll(async () => {
  lab = await openGitLab();
  const dir = lab.newRepository({
    "edit.txt": "1\n2\n3\n",
    "gone.txt": "x\n",
    "move.txt": long,
    "data.bin": binary,
    "same.txt": "as it was\n",
    "becomes-link": "a\nb\n",
    "deep/er/file.txt": "deep\n",
  });
  writeFiles(dir, {
    "edit.txt": "1\ntwo\n3\n",
    "gone.txt": null,
    "move.txt": null,
    "moved/ü here.txt": long.replace("line 3\n", "line three\n"),
    "data.bin": binary.map((byte) => 255 - byte),
    "becomes-link": null,
    "größe\nnew": "n\n",
    ":(top)magic*": "diff --git a/x b/x\n@@ -1 +1 @@\n",
    "crlf.dat": "a\r\nb\r\n",
    ".gitattributes": "*.txt text eol=crlf diff=own export-ignore\n",
    empty: "",
  });
  symlinkSync("../../etc/passwd", path.join(dir, "becomes-link"));
  plainGit(dir, "-c", "core.autocrlf=false", "add", "--all");
  plainGit(dir, "commit", "--quiet", "--message", "Second");
  const commit = (name: string): string => plainGit(dir, "rev-parse", name).trim();
  pair = { cachePath: path.join(dir, ".git"), base: commit("HEAD~1"), head: commit("HEAD") };
});
afterAll(() => lab.close());

describe("the files that a run changed", () => {
  it("come with status, lines and size", async () => {
    const files = await changedFiles(lab.host, pair);
    const file = (name: string) => files.find((one) => one.path === name);
    expect(files.map((one) => one.path)).toEqual([
      ".gitattributes",
      ":(top)magic*",
      "becomes-link",
      "crlf.dat",
      "data.bin",
      "edit.txt",
      "empty",
      "gone.txt",
      "größe\nnew",
      "moved/ü here.txt",
    ]);
    expect(file("edit.txt")).toEqual({ path: "edit.txt", previousPath: null, status: "modified", insertions: 1, deletions: 1, size: 8 });
    expect(file("gone.txt")).toMatchObject({ status: "deleted", insertions: 0, deletions: 1, size: null });
    expect(file("moved/ü here.txt")).toMatchObject({ previousPath: "move.txt", status: "renamed", insertions: 1, deletions: 1 });
    expect(file("data.bin")).toMatchObject({ status: "modified", insertions: null, deletions: null, size: 3_000 });
    expect(file("becomes-link")).toMatchObject({ status: "modified", size: "../../etc/passwd".length });
    expect(file(":(top)magic*")).toMatchObject({ status: "added", insertions: 2, size: 31 });
    expect(file("empty")).toMatchObject({ status: "added", insertions: 0, deletions: 0, size: 0 });
    expect(await changedFiles(lab.host, { ...pair, head: pair.base })).toEqual([]);
  });

  it("are more than fit into one command", async () => {
    const name = (i: number): string => `${"d".repeat(200)}/${i}`;
    const dir = lab.newRepository();
    writeFiles(dir, Object.fromEntries(Array.from({ length: 700 }, (_, i) => [name(i), `${i}`])));
    plainGit(dir, "add", "--all");
    plainGit(dir, "commit", "--quiet", "--message", "Many");
    const [base = "", head = ""] = ["HEAD~1", "HEAD"].map((one) => plainGit(dir, "rev-parse", one).trim());
    const files = await changedFiles(lab.host, { cachePath: path.join(dir, ".git"), base, head });
    expect(files).toHaveLength(700);
    expect(files.filter(({ size }) => size === null)).toEqual([]);
  });

  it("come with their hunks", async () => {
    const { files, truncated } = await diffFiles(lab.host, { ...pair, maxBytes: 1 << 20 });
    const hunks = (name: string) => files.find((one) => one.path === name)?.hunks;
    expect(truncated).toBe(false);
    expect(hunks("edit.txt")).toBe("@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n");
    expect(hunks("data.bin")).toBeNull();
    expect(hunks("empty")).toBe("");
    // What looks like the head of another file is content.
    expect(hunks(":(top)magic*")).toBe("@@ -0,0 +1,2 @@\n+diff --git a/x b/x\n+@@ -1 +1 @@\n");
    expect(hunks("becomes-link")).toContain("-a\n-b\n");
    expect(hunks("becomes-link")).toContain("+../../etc/passwd");
    expect(hunks("crlf.dat")).toContain("+a\r\n+b\r\n");
    expect(hunks("moved/ü here.txt")).toContain("-line 3\n+line three\n");
    expect(files).toEqual((await changedFiles(lab.host, pair)).map((file) => ({ ...file, hunks: hunks(file.path) })));
  });

  it("lose the hunks that are past the limit, and say so", async () => {
    const whole = await diffFiles(lab.host, { ...pair, maxBytes: 1 << 20 });
    const cut = await diffFiles(lab.host, { ...pair, maxBytes: 600 });
    expect(cut.truncated).toBe(true);
    const shown = cut.files.filter(({ hunks }) => hunks !== null);
    expect(shown.length).toBeGreaterThan(0);
    expect(cut.files.at(-1)?.hunks).toBeNull();
    for (const file of shown) expect(whole.files).toContainEqual(file);
    expect(cut.files).toHaveLength(whole.files.length);
  });
});

describe("a file of a commit", () => {
  const read = (name: string, more: { commit?: string; maxBytes?: number } = {}) =>
    readCommittedFile(lab.host, { cachePath: pair.cachePath, commit: pair.head, path: name, maxBytes: 1 << 20, ...more });
  const text = async (name: string, more = {}): Promise<string | null> => {
    const found = await read(name, more);
    return found !== null && "bytes" in found ? Buffer.from(found.bytes).toString() : null;
  };

  it("is read byte by byte, changed or not", async () => {
    expect(await read("data.bin")).toEqual({ bytes: Buffer.from(binary.map((byte) => 255 - byte)) });
    expect(await read("data.bin", { commit: pair.base })).toEqual({ bytes: Buffer.from(binary) });
    expect(await text("same.txt")).toBe("as it was\n");
    expect(await text("deep/er/file.txt")).toBe("deep\n");
    expect(await text("größe\nnew")).toBe("n\n");
    expect(await text(":(top)magic*")).toContain("diff --git");
    expect(await text("crlf.dat")).toBe(plainGit(path.dirname(pair.cachePath), "cat-file", "blob", "HEAD:crlf.dat"));
    expect(await text("empty")).toBe("");
  });

  it("is a link's target, never what lies there", async () => {
    expect(await text("becomes-link")).toBe("../../etc/passwd");
  });

  it("is null for folders, what is not there, and patterns", async () => {
    for (const name of [
      "deep",
      "deep/er",
      "gone.txt",
      "same.tx?",
      "*",
      ":/same.txt",
      "../same.txt",
      "/etc/passwd",
      "deep/../same.txt",
      "same.txt/",
    ]) {
      expect([name, await read(name)]).toEqual([name, null]);
    }
    expect(await read("same.txt", { commit: "0".repeat(40) })).toBeNull();
    expect(await text("gone.txt", { commit: pair.base })).toBe("x\n");
  });

  it("says how large it is where that is too large", async () => {
    expect(await read("data.bin", { maxBytes: 2_999 })).toEqual({ tooLarge: 3_000 });
    expect(await read("data.bin", { maxBytes: 3_000 })).toHaveProperty("bytes");
  });
});
