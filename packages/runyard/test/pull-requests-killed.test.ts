// kill -9 of the server anywhere between a run's commit and its end: there is one branch, one pull request, and the result.
import type { Run } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { type KillPoint, useKilledLine } from "../src/testing/killed-line.ts";
import { readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";

/** In the order in which they are passed. */
const POINTS: readonly KillPoint[] = [
  { push: "unanswered" },
  { sql: "insert into runyard.outbox", fate: "cut" },
  { sql: "insert into runyard.outbox", fate: "carry" },
  { sql: "runyard.claim_effects(", fate: "carry" },
  { api: "GET /pulls", when: "after" },
  { api: "POST /pulls", when: "before" },
  { api: "POST /pulls", when: "after" },
  { api: "GET /pulls", when: "before" },
  { api: "POST /labels", when: "before" },
  { api: "POST /labels", when: "after" },
  { sql: "update runyard.outbox set status = $3", fate: "cut" },
  { sql: "update runyard.outbox set status = $3", fate: "carry" },
  { sql: "insert into runyard.pull_requests", fate: "carry" },
  { sql: '"pullRequestUrl"', fate: "cut" },
  { sql: '"pullRequestUrl"', fate: "carry" },
];
const KILLS = 200;

describe.skipIf(unavailable !== null)(
  unavailable === null ? "a server that is killed" : `kills cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const killed = await useKilledLine(lab);
    const { line } = killed;

    /** A run whose server is killed at these points, as far as it passes them. */
    async function runThrough(points: readonly KillPoint[]): Promise<Run> {
      // A connection sends the text of a statement once: a server that has been at work would pass points by.
      await line.restart();
      line.model.play([{ write: ["note.txt", `${killed.kills}\n`] }, { say: "Done." }]);
      return killed.through(points, () =>
        line.client.runs.create({
          task: "Write a note",
          repositoryUrl: lab.repositoryUrl,
          pullRequest: { labels: ["by-agent"], reviewers: ["ann"] },
        }),
      );
    }

    test(`${KILLS} kills leave one branch, one pull request and the result of each run`, async () => {
      const made: string[] = [];
      while (killed.kills < KILLS) {
        const points = POINTS.filter((_, at) => (killed.kills + at * 7) % 3 !== 0).slice(0, KILLS - killed.kills);
        const before = killed.kills;
        const run = await runThrough(points);
        const branch = `runyard/${run.id}`;
        made.push(branch);
        const what = JSON.stringify({ points, hits: killed.kills - before, run: run.id, error: run.error });
        const pulls = lab.github.pulls.filter(({ head }) => head === branch);
        expect(pulls, what).toMatchObject([{ state: "open", labels: ["by-agent"], reviewers: ["ann"] }]);
        expect(run, what).toMatchObject({
          status: "completed",
          attempt: 1,
          responseType: "pr",
          result: { headBranch: branch, headCommit: lab.commitOf(branch), pullRequestProblem: null },
          githubPullRequests: [{ number: pulls[0]?.number }],
        });
        const log = await readLog(line.client, run.id);
        expect(log.map(({ seq }) => seq)).toEqual(log.map((_, at) => at + 1));
        const types = log.map(({ type }) => type);
        for (const once of ["result.pr", "run.completed"])
          expect(
            types.filter((type) => type === once),
            what,
          ).toHaveLength(1);
        expect(killed.kills, what).toBeGreaterThan(before);
      }
      expect(lab.branches().toSorted()).toEqual(made.toSorted());
      expect(lab.github.pulls).toHaveLength(made.length);
    }, 1_800_000);
  },
);
