import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { inspectRepository } from "./local-repository.ts";
import { lookAt } from "./look.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

describe("looking at a repository", () => {
  it("is one command of the host, whatever is found", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n", ".gitattributes": "a.txt filter=one\n" });
    plainGit(dir, "config", "filter.one.clean", "false");
    writeFiles(dir, { "a.txt": "changed\n", "new.txt": "new\n" });
    const start = vi.spyOn(lab.host.spawner, "start");
    const { notices } = await inspectRepository(lab.host, dir);
    expect(notices.map(({ code }) => code)).toEqual(["uncommitted-changes"]);
    expect(start).toHaveBeenCalledTimes(1);
    start.mockRestore();
  });

  it("keeps apart what is asked, where names hold what scripts treat in another way", async () => {
    const dir = lab.newRepository({ "a.txt": "a\n", ".gitattributes": "a.txt filter=*\n" });
    plainGit(dir, "config", "filter.*.clean", `touch '${path.join(dir, ".git/ran")}'; cat`);
    plainGit(dir, "config", "filter.two words; $(touch x).clean", "false");
    writeFiles(dir, { "a.txt": "b\n", "two\nlines *": "", "größe\\": "" });
    const look = await lookAt(lab.host, dir, "refs/heads/main");
    expect(look).toMatchObject({
      top: dir,
      commit: plainGit(dir, "rev-parse", "HEAD").trim(),
      currentRef: "refs/heads/main",
      changes: "The working tree has files that are not committed (1 changed, 2 untracked)",
    });
    expect(existsSync(path.join(dir, ".git/ran"))).toBe(false);
    plainGit(dir, "config", "filter.a=b.clean", "false");
    expect((await lookAt(lab.host, dir, "HEAD")).changes).toBe(
      "Whether everything is committed could not be found out (git status failed: it defines a filter whose name cannot be put on a command line)",
    );
  });

  it("goes on without knowing what is committed where that takes too long", async () => {
    const dir = lab.newRepository();
    execFileSync("mkfifo", [path.join(dir, ".gitignore")]);
    const look = await lookAt(lab.host, dir, "HEAD", 400);
    expect(look).toMatchObject({
      top: dir,
      currentRef: "refs/heads/main",
      changes: "Whether everything is committed could not be found out (git status failed: it took longer than 0 s)",
    });
  });
});
