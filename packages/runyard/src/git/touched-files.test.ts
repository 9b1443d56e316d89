import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GitLab, openGitLab, plainGit, plainShell, writeFiles } from "./testing/lab.ts";
import { touchedFiles } from "./touched-files.ts";

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab?.close());

function commit(repository: string, files: Parameters<typeof writeFiles>[1]): void {
  writeFiles(repository, files);
  plainGit(repository, "add", "--all");
  plainGit(repository, "commit", "--quiet", "--message", "x");
}

test("every file of every commit counts: taken back, removed, renamed, merged, a link, and of any name", async () => {
  const repository = lab.newRepository({ "kept.txt": "kept\n", "old.txt": "the same content\n", "gone.txt": "gone\n" });
  const base = plainGit(repository, "rev-parse", "HEAD").trim();
  commit(repository, { "taken/back.txt": "x\n" });
  commit(repository, { "taken/back.txt": null, "gone.txt": null });
  plainGit(repository, "mv", "old.txt", "new.txt");
  plainShell(repository, 'ln -s elsewhere link && printf x >"$(printf "line\\nbreak")" && printf x >"$(printf "caf\\351")"');
  commit(repository, {});
  plainGit(repository, "checkout", "--quiet", "-b", "side", base);
  commit(repository, { "side.txt": "side\n" });
  plainGit(repository, "checkout", "--quiet", "main");
  plainGit(repository, "merge", "--quiet", "--no-edit", "side");
  writeFiles(repository, { "in-merge.txt": "only in the merge\n" });
  plainGit(repository, "add", "--all");
  plainGit(repository, "commit", "--quiet", "--amend", "--no-edit");
  const head = plainGit(repository, "rev-parse", "HEAD").trim();
  const cachePath = path.join(repository, ".git");
  expect(await touchedFiles(lab.host, { cachePath, base, head })).toEqual(
    ["taken/back.txt", "gone.txt", "old.txt", "new.txt", "link", "line\nbreak", "caf\ufffd", "side.txt", "in-merge.txt"].toSorted(),
  );
  expect(await touchedFiles(lab.host, { cachePath, base: head, head })).toEqual([]);
});
