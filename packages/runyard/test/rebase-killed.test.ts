// A base branch that is brought in by URL, with a pull request; and kill -9 of the server anywhere on that way: one merge, one branch, one pull request.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Run, RunEvent } from "@runyard/sdk/contract";
import { beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { type KillPoint, useKilledLine } from "../src/testing/killed-line.ts";
import { gitIn, readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";

/** In the order in which they are passed. */
const POINTS: readonly KillPoint[] = [
  { place: "2/steps/left" },
  { place: "2/steps/merge" },
  { sql: "base.updated", fate: "cut" },
  { sql: "base.updated", fate: "carry" },
  { place: "2/steps/commit" },
  { push: "unanswered" },
  { api: "PATCH /pulls/1", when: "after" },
];

describe.skipIf(unavailable !== null)(
  unavailable === null ? "a base that is brought in by URL" : `bringing in a base by URL is not tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const killed = await useKilledLine(lab);
    const { line } = killed;
    let clones = 0;
    beforeEach(() => lab.begin());

    /** A commit on main there; gives its name. */
    function moveBase(file: string, content: string): string {
      const clone = path.join(lab.root, `clone-${(clones += 1)}`);
      gitIn(lab.root, "clone", "--quiet", lab.bare, clone);
      writeFileSync(path.join(clone, file), content);
      gitIn(clone, "add", "--all");
      gitIn(clone, "commit", "--quiet", "--message", "On the base");
      gitIn(clone, "push", "--quiet", "origin", "main");
      return lab.commitOf("main");
    }

    async function firstTurn(file: string): Promise<Run> {
      const { id } = await line.client.runs.create({ task: "[[first]] Write", repositoryUrl: lab.repositoryUrl });
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", responseType: "pr", result: { headBranch: `runyard/${id}` } });
      expect(lab.fileAt(run.result?.headCommit ?? "", file)).toBe("mine");
      return run;
    }

    const turnOf = (log: readonly RunEvent[], turn: number): RunEvent[] => log.filter((event) => event.turn === turn);

    test("the same pull request is renewed, and says what is the run's own; a branch that is protected keeps what it had", async () => {
      await line.serve({ first: [{ write: ["mine.txt", "mine\n"] }, { say: "First." }] });
      const first = await firstTurn("mine.txt");
      const base = moveBase("theirs.txt", "theirs\n");
      await line.client.runs.continue(first.id, null, { rebase: true });
      const run = await line.client.runs.waitForEnd(first.id);
      const branch = `runyard/${first.id}`;
      expect(run).toMatchObject({
        status: "completed",
        result: { headBranch: branch, baseCommit: base, filesChanged: 1, pullRequestProblem: null },
      });
      expect(gitIn(lab.bare, "log", "-1", "--format=%P", branch)).toBe(`${first.result?.headCommit} ${base}`);
      expect(lab.github.pulls).toHaveLength(1);
      const body = lab.github.pulls[0]?.body ?? "";
      for (const words of [
        "> Bring the branch up to date with main",
        `Merged main (${base.slice(0, 10)}), without conflicts`,
        "1 file, +1 −0",
        "mine.txt",
      ])
        expect(body).toContain(words);
      expect(body).not.toContain("theirs.txt");

      const hook = path.join(lab.bare, "hooks/pre-receive");
      mkdirSync(path.dirname(hook), { recursive: true });
      const before = lab.commitOf(branch);
      const again = moveBase("theirs.txt", "theirs again\n");
      writeFileSync(hook, "#!/bin/sh\necho 'GH006: protected branch' >&2\nexit 1\n", { mode: 0o755 });
      await line.client.runs.continue(first.id, null, { rebase: true });
      const refused = await line.client.runs.waitForEnd(first.id);
      rmSync(hook);
      expect(refused).toMatchObject({ status: "completed", result: { headBranch: null, baseCommit: again } });
      const notices = turnOf(await readLog(line.client, first.id), 3).flatMap((event) => (event.type === "notice" ? [event.data] : []));
      expect(notices).toMatchObject([{ code: "branch-not-pushed", message: expect.stringContaining("GH006: protected branch") as string }]);
      expect(lab.commitOf(branch)).toBe(before);
      // Once it may be, the merge that was made is pushed.
      await line.client.runs.continue(first.id, null, { rebase: true });
      expect((await line.client.runs.waitForEnd(first.id)).result).toMatchObject({
        headBranch: branch,
        headCommit: refused.result?.headCommit,
      });
      expect(lab.commitOf(branch)).toBe(refused.result?.headCommit);
    }, 120_000);

    test.each(["without conflicts", "with conflicts"] as const)(
      "kills leave one merge, one branch and one pull request (%s)",
      async (how) => {
        const file = how === "with conflicts" ? "both.txt" : "own.txt";
        await line.serve({
          first: [{ write: [file, "mine\n"] }, { say: "First." }],
          second: [{ write: [file, "both\n"] }, { run: `git add ${file}` }, { say: "Second." }],
        });
        const first = await firstTurn(file);
        const base = moveBase(how === "with conflicts" ? file : "beside.txt", "theirs\n");
        const before = killed.kills;
        const run = await killed.through(POINTS, () => line.client.runs.continue(first.id, "[[second]] And go on", { rebase: true }));
        expect(killed.kills - before).toBe(POINTS.length);
        const branch = `runyard/${first.id}`;
        expect(run).toMatchObject({
          status: "completed",
          turn: 2,
          error: null,
          result: { headBranch: branch, headCommit: lab.commitOf(branch), baseCommit: base, pullRequestProblem: null },
        });
        expect(lab.branches().filter((name) => name.startsWith(branch))).toEqual([branch]);
        expect(lab.github.pulls).toMatchObject([{ head: branch, state: "open" }]);
        expect(lab.fileAt(branch, file)).toBe("both");
        const parents = gitIn(lab.bare, "log", "--merges", "--format=%P", branch).split("\n");
        expect(parents).toEqual([`${first.result?.headCommit} ${base}`]);
        const log = turnOf(await readLog(line.client, first.id), 2);
        expect(log.filter(({ type }) => type === "base.updated")).toHaveLength(1);
      },
      300_000,
    );
  },
);
