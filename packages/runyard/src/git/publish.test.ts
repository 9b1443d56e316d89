import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DRIVERS, filesBelow, type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 240_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

function manyFiles(count: number, content: (i: number) => string): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`dir-${i % 40}/sub-${i % 7}/file-${i}.txt`, content(i)]));
}

describe("from a repository to a branch", () => {
  it("serves many runs on one repository at once", async () => {
    const dir = lab.newRepository({ "shared.txt": "start\n" });
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const run = await lab.prepare(dir, { driver: DRIVERS[i % DRIVERS.length] ?? "process" });
        writeFiles(run.workspace, { "shared.txt": `run ${i}\n`, [`own-${i}.txt`]: "x\n" });
        return { i, run, outcome: await lab.finish(run) };
      }),
    );
    for (const { i, run, outcome } of outcomes) {
      expect(outcome).toMatchObject({ created: true, notices: [], stat: { filesChanged: 2, insertions: 2, deletions: 1 } });
      expect(plainGit(dir, "show", `${run.branch}:shared.txt`)).toBe(`run ${i}\n`);
      expect(plainGit(dir, "ls-tree", "--name-only", run.branch)).toBe(`own-${i}.txt\nshared.txt\n`);
    }
    expect(plainGit(dir, "branch", "--list", "runyard/*").trim().split("\n")).toHaveLength(6);
    plainGit(dir, "fsck", "--full", "--strict");
  });

  it.each(DRIVERS)("takes 2,000 files (%s)", async (driver) => {
    const dir = lab.newRepository(manyFiles(2_000, (i) => `content of ${i}\n`.repeat(20)));
    const run = await lab.prepare(dir, { driver });
    expect(filesBelow(run.workspace)).toHaveLength(2_000);
    const changed = Object.entries(manyFiles(2_000, (i) => `changed ${i}\n`));
    writeFiles(run.workspace, Object.fromEntries(changed.slice(0, 500)));
    writeFiles(run.workspace, Object.fromEntries(changed.slice(500, 1_000).map(([name]) => [name, null])));
    writeFiles(run.workspace, Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`new/${i}`, `${i}\n`])));
    const outcome = await lab.finish(run);
    expect(outcome).toMatchObject({ notices: [], created: true, stat: { filesChanged: 1_500, insertions: 1_000, deletions: 20_000 } });
    expect(plainGit(dir, "ls-tree", "-r", "--name-only", run.branch).trim().split("\n")).toHaveLength(2_000);
  });
});
