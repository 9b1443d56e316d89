import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { plainGit, writeFiles } from "../git/testing/lab.ts";
import { mergeResult } from "./merge-result.ts";
import { checkOut, pullBranch } from "./pull-branch.ts";

let root: string;
let clone: string;
let base: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-in-the-way-")));
  clone = path.join(root, "clone");
  mkdirSync(clone);
  plainGit(clone, "init", "--quiet", "--initial-branch=main");
  plainGit(clone, "config", "user.name", "T");
  plainGit(clone, "config", "user.email", "t@t.invalid");
  writeFiles(clone, { ".gitignore": ".env\nbuild\n", "a.txt": "one\n", "b.txt": "one\n" });
  base = commitAll("Base");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function commitAll(message: string): string {
  plainGit(clone, "add", "--all", "--force");
  plainGit(clone, "commit", "--quiet", "--message", message);
  return plainGit(clone, "rev-parse", "HEAD").trim();
}

/** A commit of an agent that goes on from the first one, and is on no branch. */
function result(files: Readonly<Record<string, string>>): string {
  writeFiles(clone, files);
  const head = commitAll("Of an agent");
  plainGit(clone, "reset", "--quiet", "--hard", base);
  return head;
}

const inClone = (file: string): string => path.join(clone, file);

describe("what git would overwrite without a word", () => {
  test.each([".env", "build/precious"])("is a file that is ignored (%s): it stays when the result is checked out", async (ignored) => {
    const head = result({ ".env": "the agent's\n", build: "the agent's\n" });
    await pullBranch(clone, "runyard/x", head);
    writeFiles(clone, { [ignored]: "mine\n" });
    await expect(checkOut(clone, "runyard/x")).rejects.toThrow(/did not check it out: .*(\.env|build)/);
    expect(readFileSync(inClone(ignored), "utf8")).toBe("mine\n");
    expect(plainGit(clone, "branch", "--show-current")).toBe("main\n");
    // The control: with the file out of the way it is checked out.
    rmSync(inClone(ignored.split("/")[0] ?? ""), { recursive: true });
    expect(await checkOut(clone, "runyard/x")).toBe("git checkout main");
    expect(readFileSync(inClone(".env"), "utf8")).toBe("the agent's\n");
  });

  test.each([
    ["build", "build/precious"],
    ["build/new", "build"],
    ["build/new", "build/new"],
    ["nested/new", "nested/.git/HEAD"],
  ])("is found before a merge: the result has %s, the folder %s", async (theirs, mine) => {
    const head = result({ [theirs]: "the agent's\n" });
    if (theirs.startsWith("nested")) plainGit(clone, "init", "--quiet", "nested");
    else writeFiles(clone, { [mine]: "mine\n" });
    const merging = { top: clone, name: head, commit: head };
    await expect(mergeResult(merging, "changes")).rejects.toThrow(`nothing was touched:\n    ${theirs}`);
    expect(existsSync(inClone(mine))).toBe(true);
  });
});

describe("somebody's own configuration of git", () => {
  test.each(["false", "only"])("may have merge.ff=%s: the changes come all the same", async (ff) => {
    const head = result({ "a.txt": "two\n" });
    writeFiles(clone, { "b.txt": "two\n" });
    commitAll("Mine");
    plainGit(clone, "config", "merge.ff", ff);
    expect(await mergeResult({ top: clone, name: head, commit: head }, "changes")).toMatchObject({ how: "changes", files: 1 });
    expect(plainGit(clone, "status", "--porcelain")).toBe("M  a.txt\n");
  });

  test("may sign commits by a program that fails: then nothing is merged, and what is not committed stays", async () => {
    const head = result({ "a.txt": "two\n" });
    writeFiles(clone, { "c.txt": "mine\n" });
    const mine = commitAll("Mine");
    writeFiles(clone, { "b.txt": "not committed\n", "no-gpg": "#!/bin/sh\nexit 1\n" });
    chmodSync(inClone("no-gpg"), 0o755);
    plainGit(clone, "config", "commit.gpgSign", "true");
    plainGit(clone, "config", "gpg.program", inClone("no-gpg"));
    await expect(mergeResult({ top: clone, name: head, commit: head }, "commits")).rejects.toThrow(/gpg failed to sign/);
    expect(plainGit(clone, "rev-parse", "HEAD").trim()).toBe(mine);
    expect(plainGit(clone, "status", "--porcelain")).toBe(" M b.txt\n?? no-gpg\n");
    expect(existsSync(inClone(".git/MERGE_HEAD"))).toBe(false);
  });

  test("leaves a merge alone that somebody has under way", async () => {
    const head = result({ "a.txt": "two\n" });
    const other = result({ "b.txt": "two\n" });
    writeFiles(clone, { "c.txt": "mine\n" });
    commitAll("Mine");
    plainGit(clone, "merge", "--quiet", "--no-commit", "--no-ff", "--strategy=ours", other);
    await expect(mergeResult({ top: clone, name: head, commit: head }, "commits")).rejects.toThrow(/git did not merge/);
    expect(readFileSync(inClone(".git/MERGE_HEAD"), "utf8").trim()).toBe(other);
  });
});

test("two at once bring the same branch, and neither fails", async () => {
  const head = result({ "a.txt": "two\n" });
  const pulled = await Promise.all(Array.from({ length: 6 }, () => pullBranch(clone, "runyard/x", head)));
  expect(pulled.filter(({ how }) => how === "made")).toHaveLength(1);
  expect(pulled.filter(({ how }) => how === "there")).toHaveLength(5);
});
