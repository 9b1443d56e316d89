import path from "node:path";
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createRedactor } from "../redact.ts";
import { type ScanOptions, scanCommits, type SecretPlace } from "./scan-commits.ts";
import { type GitLab, openGitLab, plainGit, plainShell } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000 });

const VALUE = "decoy/secret+value";
const BASE64 = Buffer.from(VALUE).toString("base64");
const redactor = createRedactor([], [{ name: "TOKEN", value: VALUE }]);
const FOUND = { label: "[secret TOKEN]" };

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** What is found in the commits that a script makes; `head` is the last one. */
async function scan(script: string, options: Partial<ScanOptions> = {}): Promise<{ found: SecretPlace[]; head: string; base: string }> {
  const repository = lab.newRepository({ "a.txt": "a\n", "old.txt": "old\n" });
  const base = plainGit(repository, "rev-parse", "HEAD").trim();
  plainShell(repository, `set -e; value=$1; base64=$2; ${script}`, VALUE, BASE64);
  const head = plainGit(repository, "rev-parse", "HEAD").trim();
  const found = await scanCommits(lab.host, { gitDir: path.join(repository, ".git"), base, head, redactor, ...options });
  return { found, head, base };
}

describe("commits are looked through", () => {
  it.each([
    ["a new file", 'printf "x\\ny\\nt=%s\\n" "$value" >b.txt; ', { file: "b.txt", line: 3 }],
    ["a changed file", 'echo "$value" >>a.txt; ', { file: "a.txt", line: 2 }],
    ["base64", 'mkdir d; printf "\\n%s" "$base64" >"d/größe file.txt"; ', { file: "d/größe file.txt", line: 2 }],
    ["a file of bytes", 'head -c 5000 /dev/urandom | tr -d "\\n" >b.bin; printf %s "$value" >>b.bin; ', { file: "b.bin", line: 1 }],
    ["a link's target", 'ln -s "/nowhere/$value" link; ', { file: "link", line: 1 }],
    ["a file's name", 'mkdir -p decoy; echo x >"$value.txt"; ', { file: "[secret TOKEN].txt", line: null }],
  ])("%s", async (_, script, place) => {
    const { found, head } = await scan(`${script}git add --all; git commit --quiet --message Change`);
    expect(found).toEqual([{ ...FOUND, commit: head, ...place }]);
    expect(JSON.stringify(found)).not.toContain(VALUE);
  });

  it("messages, and the names of authors", async () => {
    const { found, head } = await scan('git commit --quiet --allow-empty --message "Use $value"');
    expect(found).toEqual([{ ...FOUND, commit: head, file: null, line: null }]);
    const author = await scan('git commit --quiet --allow-empty --message x --author "$base64 <a@b.invalid>"');
    expect(author.found).toMatchObject([{ file: null }]);
  });

  it("every commit, also one whose file is gone again, and both sides of a merge", async () => {
    const { found } = await scan(
      'echo "$value" >b.txt; git add --all; git commit --quiet --message In; git rm --quiet b.txt; git commit --quiet --message Out',
    );
    expect(found).toMatchObject([{ file: "b.txt", line: 1 }]);
    const merged = await scan(
      'main=$(git symbolic-ref --short HEAD); git checkout --quiet -b side; echo "$value" >b.txt; git add --all; git commit --quiet --message In; git checkout --quiet "$main"; git commit --quiet --allow-empty --message Other; git merge --quiet --no-commit --no-ff side; git rm --quiet --force b.txt; git commit --quiet --message Merge',
    );
    expect(merged.found).toMatchObject([{ file: "b.txt", line: 1 }]);
    const evil = await scan(
      'main=$(git symbolic-ref --short HEAD); git checkout --quiet -b side; echo b >b.txt; git add --all; git commit --quiet --message In; git checkout --quiet "$main"; git commit --quiet --allow-empty --message Other; git merge --quiet --no-commit --no-ff side; echo "$value" >c.txt; git add --all; git commit --quiet --message Merge',
    );
    expect(evil.found).toMatchObject([{ file: "c.txt", line: 1 }]);
  });

  it("in parts, none of which cuts a secret in two", async () => {
    for (const before of [0, 90, 99, 100, 101, 4_095, 4_096]) {
      const { found } = await scan(
        `head -c ${before} /dev/zero | tr "\\\\0" "\\\\n" >b.txt; printf %s "$value" >>b.txt; git add --all; git commit --quiet --message x`,
        {
          windowBytes: 100,
        },
      );
      expect([before, found]).toMatchObject([before, [{ file: "b.txt", line: before + 1 }]]);
    }
  });

  it("in many files, and finds nothing where nothing is, or was before", async () => {
    const many = await scan(
      'for n in $(seq 300); do echo "$n" >"f$n"; done; git add --all; git commit --quiet --message x; git rm --quiet old.txt; git commit --quiet --message y',
    );
    expect(many.found).toEqual([]);
    // What the base has already is in nobody's new commit.
    const repository = lab.newRepository({ "leaked.txt": VALUE });
    const base = plainGit(repository, "rev-parse", "HEAD").trim();
    writeFileSync(path.join(repository, "b.txt"), "b\n");
    plainGit(repository, "add", "--all");
    plainGit(repository, "commit", "--quiet", "--message", "x");
    const head = plainGit(repository, "rev-parse", "HEAD").trim();
    const options = { gitDir: path.join(repository, ".git"), base, head, redactor };
    expect(await scanCommits(lab.host, options)).toEqual([]);
    expect(await scanCommits(lab.host, { ...options, redactor: createRedactor([]) })).toEqual([]);
  });
});
