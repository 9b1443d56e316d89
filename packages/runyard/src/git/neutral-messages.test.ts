import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { neutralizeMessages } from "./neutral-messages.ts";
import { resultRef } from "./names.ts";
import { type GitLab, openGitLab, plainGit, plainShell } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 60_000 });

const Z = "\u200b";
const claims = ["Co-authored-by: Ann <ann@example.com>"];
let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** The commits of a script on top of a repository's first one; a bare copy of it stands for the cache. */
function historyOf(script: string): { cachePath: string; base: string; head: string } {
  const dir = lab.newRepository();
  const base = plainGit(dir, "rev-parse", "HEAD").trim();
  plainShell(dir, script);
  const head = plainGit(dir, "rev-parse", "HEAD").trim();
  const cachePath = lab.newPath("cache.git");
  plainGit(dir, "clone", "--quiet", "--bare", dir, cachePath);
  return { cachePath, base, head };
}
const commit = "git commit --quiet --allow-empty --message";

test("messages refer to nothing, and everything else of the commits is as it was", async () => {
  const { cachePath, base, head } = historyOf(`
    ${commit} "Plain Über"
    echo a >a && git add a && ${commit} "Fixes #12 für @octocat

Co-authored-by: Ann <ann@example.com>"
    git checkout --quiet -b side HEAD~1 && echo b >b && git add b && ${commit} "Side"
    git checkout --quiet main && git merge --quiet --no-edit --message "Merge, closes acme/app#3" side
    ${commit} "Last"`);
  const done = await neutralizeMessages(lab.host, { cachePath, base, head, runId: "run_1", claims });
  expect(done.changed).toBe(2);
  expect(done.head).not.toBe(head);
  const log = (at: string, format: string): string[] =>
    plainGit(cachePath, "log", "--topo-order", `--format=${format}`, `${base}..${at}`).trim().split("\n");
  expect(plainGit(cachePath, "log", "--format=%B", `${base}..${done.head}`)).toContain(
    `Fixes #${Z}12 für @${Z}octocat\n\nCo-authored-by: Ann <ann@example.com>`,
  );
  expect(log(done.head, "%s")).toEqual(["Last", `Merge, closes acme/app#${Z}3`, "Side", `Fixes #${Z}12 für @${Z}octocat`, "Plain Über"]);
  for (const format of ["%T", "%an %ae %ad", "%cn %ce %cd"]) expect(log(done.head, format)).toEqual(log(head, format));
  // What comes before the first change is what it was.
  expect(log(done.head, "%H").at(-1)).toBe(log(head, "%H").at(-1));
  expect(plainGit(cachePath, "rev-parse", resultRef("run_1")).trim()).toBe(done.head);
  expect(plainGit(cachePath, "fsck", "--strict", "--no-dangling")).toBe("");
  // The same comes out again, and of what has nothing in it nothing else.
  expect(await neutralizeMessages(lab.host, { cachePath, base, head, runId: "run_1", claims })).toEqual(done);
  expect(await neutralizeMessages(lab.host, { cachePath, base, head: done.head, runId: "run_1", claims })).toEqual({
    head: done.head,
    changed: 0,
  });
  expect(existsSync(lab.host.stepsDir) ? readdirSync(lab.host.stepsDir).filter((name) => name.startsWith("messages-")) : []).toEqual([]);
});

test("a signature goes with what it was of, and another encoding is let be", async () => {
  const { cachePath, base, head } = historyOf(`
    ${commit} "Signed, fixes #1"
    git cat-file commit HEAD | sed '/^committer/a\\
gpgsig -----BEGIN PGP SIGNATURE-----\\
 \\
 abc\\
 -----END PGP SIGNATURE-----' >signed
    git reset --quiet --soft $(git hash-object -t commit -w signed) && rm signed
    printf 'Gr\\374\\337e an @octocat' | git -c i18n.commitEncoding=ISO-8859-1 commit --quiet --allow-empty --file -`);
  const done = await neutralizeMessages(lab.host, { cachePath, base, head, runId: "run_2", claims });
  const [last, first] = [done.head, `${done.head}~1`].map((name) => plainGit(cachePath, "cat-file", "commit", name));
  expect(plainGit(cachePath, "cat-file", "commit", `${head}~1`)).toContain("gpgsig -----BEGIN");
  expect(first).not.toContain("PGP");
  expect(first).toContain(`\n\nSigned, fixes #${Z}1\n`);
  expect(last).toContain("encoding ISO-8859-1");
  expect(plainGit(cachePath, "log", "-1", "--format=%s", done.head).trim()).toBe("Grüße an @ octocat");
  expect(plainGit(cachePath, "fsck", "--strict", "--no-dangling")).toBe("");
});

test("claims of the agent and what steers a terminal are gone, in messages and names, and what Runyard wrote stays", async () => {
  const { cachePath, base, head } = historyOf(`
    GIT_AUTHOR_NAME="$(printf 'A\\033[31m\\342\\200\\256')" ${commit} "$(printf 'Clean \\033]0;owned\\007')

Signed-off-by: Eve <eve@example.com>
Co-authored-by: Ann <ann@example.com>"`);
  const done = await neutralizeMessages(lab.host, { cachePath, base, head, runId: "run_3", claims });
  expect(done.changed).toBe(1);
  expect(plainGit(cachePath, "log", "-1", "--format=%an%n%B", done.head).trim()).toBe(
    `A[31m\nClean ]0;owned\n\nSigned-off-${Z}by: Eve <eve@example.com>\nCo-authored-by: Ann <ann@example.com>`,
  );
  // As git itself reads it.
  const trailers = (name: string): string => plainGit(cachePath, "log", "-1", "--format=%(trailers:only,keyonly)", name).trim();
  expect([trailers(head), trailers(done.head)]).toEqual(["Signed-off-by\nCo-authored-by", ""]);
  expect(await neutralizeMessages(lab.host, { cachePath, base, head: done.head, runId: "run_3", claims })).toEqual({
    head: done.head,
    changed: 0,
  });
});
