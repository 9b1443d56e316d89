import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { inspectRepository } from "./local-repository.ts";
import { missingFiles } from "./missing-files.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** Names that git could take for more than they are. */
const THERE = ["README.md", "src", "src/a b.ts", "größe.md", "*", "-x", ":(top)y", '"quoted"', "src/[ab].ts"];
const MISSING = ["readme.md", "README.md/x", "src/b.ts", "s*", "src/?.ts", ":(glob)**", ":/", "--all", "HEAD", "later.md"];

test.each(["of a working tree", "of a bare repository"])(
  "tells what a commit %s does not have, and takes every name as it is",
  async (kind) => {
    const files = Object.fromEntries(THERE.filter((name) => name !== "src").map((name) => [name, "x\n"]));
    const dir = lab.newRepository(files);
    const repository = await inspectRepository(lab.host, dir);
    // Of the commit and nothing else.
    writeFiles(dir, { "later.md": "x\n" });
    const place = { commit: repository.commit, root: dir };
    if (kind === "of a bare repository") {
      place.root = lab.newPath("bare");
      plainGit(dir, "clone", "--quiet", "--bare", dir, place.root);
    }
    expect(await missingFiles(lab.host, place, [...THERE, ...MISSING])).toEqual(MISSING);
    expect(await missingFiles(lab.host, place, THERE)).toEqual([]);
    expect(await missingFiles(lab.host, place, [])).toEqual([]);
  },
);

test("asks about as many and as long names as a run may have", async () => {
  const dir = lab.newRepository({ "README.md": "x\n" });
  const place = await inspectRepository(lab.host, dir);
  const names = Array.from({ length: 200 }, (_, index) => `${index}${"ä".repeat(1_000)}`);
  expect(await missingFiles(lab.host, place, names)).toEqual(names);
});
