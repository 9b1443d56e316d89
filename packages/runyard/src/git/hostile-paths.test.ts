// Names, kinds and links as an archive could hold them, through everything that takes files from a sandbox or a path
// from a request: whatever they are, nothing is read or written outside of its place. 500 of each in the full tests.
// `RUNYARD_TEST_SEED=<seed> npm test -- packages/runyard/src/git/hostile-paths` repeats what failed.
import { execFileSync } from "node:child_process";
import { existsSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { updateCache } from "./cache.ts";
import { changedFiles, diffFiles } from "./changed-files.ts";
import { importResult } from "./import-result.ts";
import { inspectLocal, type LocalRepository } from "./local-repository.ts";
import { patch, publishBranch } from "./publish.ts";
import { readCommittedFile } from "./read-file.ts";
import { DRIVERS, type GitLab, openGitLab, plainGit, plainGitMayFail } from "./testing/lab.ts";
import { describeEntry, type HostileEntry, hostileEntries } from "./testing/hostile-paths.ts";
import { readMade } from "./testing/read-made.ts";

const FULL = Boolean(process.env["RUNYARD_TEST_FULL"]);
const SEED = Number(process.env["RUNYARD_TEST_SEED"] ?? 2_026);
const SECRET = `secret-${process.pid}`;

vi.setConfig({ testTimeout: 1_800_000 });

let lab: GitLab;
let outside: string;
beforeAll(async () => {
  lab = await openGitLab();
  outside = path.join(lab.root, "outside");
  writeFileSync(outside, SECRET);
});
afterAll(() => lab.close());

/** Which case of which seed. */
const nameOf = (index: number, entry: HostileEntry): string => `RUNYARD_TEST_SEED=${SEED}, case ${index}: ${describeEntry(entry)}`;

/** Everything that is not to change while files are taken and checked out. */
function around(repository: string): unknown {
  const git = path.join(repository, ".git");
  return {
    outside: readFileSync(outside, "utf8"),
    above: readdirSync(lab.root).filter((name) => !/^(repository|steps|cache|spawner|clone|results|home|step|attempt)/.test(name)),
    config: readFileSync(path.join(git, "config"), "utf8"),
    hooks: existsSync(path.join(git, "hooks")) ? readdirSync(path.join(git, "hooks")).filter((name) => !name.endsWith(".sample")) : [],
  };
}

describe("bundles that come out of a sandbox", () => {
  let repository: LocalRepository;
  let cachePath: string;
  let clone: string;
  let base: string;
  beforeAll(async () => {
    repository = await inspectLocal(lab.host, lab.newRepository());
    base = repository.commit;
    ({ cachePath } = await updateCache(lab.host, { cacheDir: lab.cacheDir, repository, commit: base, runId: "run_base" }));
    clone = lab.newPath("clone");
    plainGit(lab.root, "clone", "--quiet", repository.root, clone);
  });

  const store = (type: "blob" | "tree", content: Buffer): string => {
    const words = ["hash-object", "-t", type, "-w", "--literally", "--stdin"];
    return execFileSync("git", words, { cwd: clone, input: content, encoding: "utf8" }).trim();
  };
  const treeWith = (name: Buffer, mode: string, object: string): string =>
    store("tree", Buffer.concat([Buffer.from(`${mode} `), name, Buffer.from([0]), Buffer.from(object, "hex")]));

  /** A results directory whose bundle has this entry, made without any of git's checks. */
  function resultsWith({ names, mode, content }: HostileEntry): { dir: string; head: string } {
    const inner = names.toReversed();
    let object = mode === "160000" ? base : store("blob", Buffer.from(content));
    inner.forEach((name, depth) => (object = treeWith(name, depth === 0 ? mode : "40000", object)));
    const head = plainGit(clone, "commit-tree", "-p", base, "-m", "Hostile", object).trim();
    const dir = lab.newPath("results");
    mkdirSync(dir);
    plainGit(clone, "update-ref", "refs/heads/result", head);
    plainGit(clone, "bundle", "create", "--quiet", path.join(dir, "result.bundle"), "refs/heads/result", `^${base}`);
    writeFileSync(path.join(dir, "result.json"), JSON.stringify({ changed: true, head, notices: [] }));
    return { dir, head };
  }

  it("are refused, or taken, shown, published and checked out without an escape", async () => {
    const before = around(repository.root);
    const count = { refused: 0, taken: 0, unchecked: 0 };
    for (const [index, entry] of hostileEntries(FULL ? 500 : 12, SEED).entries()) {
      const { dir, head } = resultsWith(entry);
      const runId = `run_${index}`;
      const place = { cachePath, base, head };
      try {
        await importResult(lab.host, { cachePath, resultsDir: dir, base, runId });
      } catch (error) {
        count.refused += 1;
        const isThere = plainGitMayFail(lab.root, "--git-dir", cachePath, "cat-file", "-e", head).status === 0;
        expect([nameOf(index, entry), isThere ? (error as Error).message : "nothing stays"]).toEqual([
          nameOf(index, entry),
          "nothing stays",
        ]);
        expect([nameOf(index, entry), (error as Error).name]).toEqual([nameOf(index, entry), "GitError"]);
        // The control: git takes it where nobody asks it to check.
        const lax = plainGitMayFail(
          clone,
          "-c",
          "fetch.fsckObjects=false",
          "fetch",
          "--quiet",
          path.join(dir, "result.bundle"),
          "refs/heads/result",
        );
        if (lax.status === 0) count.unchecked += 1;
        continue;
      }
      count.taken += 1;
      await readMade(patch(lab.host, { ...place, maxBytes: 1 << 20 }));
      await diffFiles(lab.host, { ...place, maxBytes: 1 << 20 });
      for (const { path: file, status } of await changedFiles(lab.host, place)) {
        if (status === "deleted") continue;
        const found = await readCommittedFile(lab.host, { cachePath, commit: head, path: file, maxBytes: 1 << 20 });
        if (found !== null && "bytes" in found)
          expect([nameOf(index, entry), Buffer.from(found.bytes).toString()]).toEqual([nameOf(index, entry), entry.content]);
      }
      await publishBranch(lab.host, { repository, cachePath, head, branch: `runyard/${runId}` });
      plainGitMayFail(repository.root, "checkout", "--quiet", "--force", `runyard/${runId}`, "--");
      expect([nameOf(index, entry), around(repository.root)]).toEqual([nameOf(index, entry), before]);
    }
    expect(count.refused).toBeGreaterThan(0);
    expect(count.taken).toBeGreaterThan(0);
    expect(count.unchecked).toBeGreaterThan(0);
  });

  it("and a path of a request is a name in the commit, and nothing else", async () => {
    for (const [index, entry] of hostileEntries(FULL ? 500 : 40, SEED + 1).entries()) {
      const file = Buffer.concat(entry.names.flatMap((one, n) => (n === 0 ? [one] : [Buffer.from("/"), one]))).toString();
      const found = await readCommittedFile(lab.host, { cachePath, commit: base, path: file, maxBytes: 1 << 20 }).catch(
        (error: unknown) => error,
      );
      const bytes =
        found !== null && typeof found === "object" && "bytes" in found ? Buffer.from(found.bytes as Uint8Array).toString() : null;
      expect([nameOf(index, entry), bytes]).toEqual([nameOf(index, entry), file === "README.md" ? "# Test\n" : null]);
    }
  });
});

/** Such a folder makes git refuse the result whole, which is safe: `bundles` has it. */
const isRefusedWhole = ({ names }: HostileEntry): boolean => names.slice(0, -1).some((name) => /^\.?git(mod|att)/i.test(name.toString()));

/** Makes it on the disk, as far as a disk can hold it; false where it cannot. */
function makeOnDisk(dir: string, { names, mode, content }: HostileEntry): boolean {
  const parts = names.map((name) => Buffer.from(name.filter((byte) => byte !== 0x2f)));
  if (parts.some((part) => part.length === 0 || part.length > 255 || part.equals(Buffer.from(".")) || part.equals(Buffer.from(".."))))
    return false;
  const slash = Buffer.from("/");
  const at = (depth: number): Buffer => Buffer.concat([Buffer.from(dir), ...parts.slice(0, depth).flatMap((part) => [slash, part])]);
  const file = at(parts.length);
  try {
    mkdirSync(at(parts.length - 1), { recursive: true });
    if (mode === "120000") symlinkSync(content === "" ? "empty" : content.slice(0, 4_000), file);
    else if (mode === "010000") execFileSync("mkfifo", ["--", "pipe"], { cwd: dir });
    else if (mode === "020000" && process.getuid?.() === 0) execFileSync("mknod", ["device", "c", "1", "3"], { cwd: dir });
    else if (mode === "160000") linkSync(outside, file);
    else writeFileSync(file, content, { mode: parseInt(mode.slice(-4), 8) });
    return true;
  } catch {
    return false;
  }
}

describe.each(DRIVERS)("a workspace (%s)", (driver) => {
  it("with all of them at once is committed, published and checked out without an escape", async () => {
    const run = await lab.prepare(lab.newRepository(), { driver });
    const made = hostileEntries(FULL ? 500 : 120, SEED + 2).filter((entry, index) => {
      const dir = path.join(run.workspace, `case-${index}`);
      mkdirSync(dir);
      return !isRefusedWhole(entry) && makeOnDisk(dir, entry);
    });
    expect(made.length).toBeGreaterThan(FULL ? 200 : 48);
    const before = around(run.repository.root);
    const { head, created } = await lab.finish(run);
    expect(created).toBe(true);
    const entries = plainGit(run.repository.root, "ls-tree", "-r", "-z", head ?? "")
      .split("\0")
      .filter((line) => line !== "");
    expect(entries.length).toBeGreaterThan(FULL ? 100 : 24);
    // Only what git keeps: files, programs and links, none of them a git directory by any spelling.
    expect(entries.filter((line) => !/^(100644|100755|120000) blob /.test(line))).toEqual([]);
    expect(entries.filter((line) => /\/\.git(\/|$)/i.test(line))).toEqual([]);
    plainGit(run.repository.root, "fsck", "--strict", "--no-dangling");
    plainGit(run.repository.root, "checkout", "--quiet", "--force", run.branch, "--");
    expect(around(run.repository.root)).toEqual(before);
    // A link is a link there, too: what it leads to is not taken along.
    const links = entries.filter((line) => line.startsWith("120000")).map((line) => line.slice(line.indexOf("\t") + 1));
    const [link = ""] = links;
    expect(links.length).toBeGreaterThan(2);
    expect(lstatSync(path.join(run.repository.root, link)).isSymbolicLink()).toBe(true);
  });
});
