// kill -9 of the server anywhere between a run's publishing and the end of its checks: each failure goes back to the agent once.
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { fakeChecks } from "../src/testing/github-checks.ts";
import { type GithubLab, openGithubLab } from "../src/testing/github-lab.ts";
import { type KillPoint, useKilledLine } from "../src/testing/killed-line.ts";
import { readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";

/** In the order in which they are passed; all but the first two are passed once more when the checks succeed. */
const POINTS: readonly KillPoint[] = [
  { sql: "runyard.await_checks(", fate: "cut" },
  { sql: "runyard.await_checks(", fate: "carry" },
  { api: "GET /check-runs", when: "before" },
  { api: "GET /status", when: "after" },
  { sql: "update runyard.outbox set next_attempt_at", fate: "cut" },
  { sql: "update runyard.outbox set next_attempt_at", fate: "carry" },
  { sql: "update runyard.outbox set status = $3", fate: "carry" },
  { sql: "runyard.end_checks(", fate: "cut" },
  { sql: "runyard.end_checks(", fate: "carry" },
  { sql: "commit", fate: "cut", since: "runyard.end_checks(" },
  { sql: "commit", fate: "carry", since: "runyard.end_checks(" },
  { sql: "runyard.claim_run(", fate: "carry" },
  { sql: "runyard.await_checks(", fate: "carry" },
  { sql: "commit", fate: "carry", since: "runyard.end_checks(" },
];

describe.skipIf(unavailable !== null)(
  unavailable === null ? "a server that is killed while checks are waited for" : `kills beside checks are not tested: ${unavailable}`,
  async () => {
    const checks = fakeChecks({
      judge(commit) {
        const conclusion = lab.fileAt(commit, "note.txt") === "good" ? "success" : "failure";
        return [{ name: "unit", status: "completed", conclusion }];
      },
    });
    const lab: GithubLab = await openGithubLab({ more: checks.routes });
    const killed = await useKilledLine(lab);
    const { line } = killed;

    test(`${POINTS.length} kills leave one feedback, one branch and one pull request`, async () => {
      const notes = ["bad", "good"].flatMap((text) => [{ write: ["note.txt", `${text}\n`] as [string, string] }, { say: "Done." }]);
      line.model.play(notes);
      const run = await killed.through(POINTS, () =>
        line.client.runs.create({ task: "Write a note", repositoryUrl: lab.repositoryUrl, watchChecks: true }),
      );
      const branch = `runyard/${run.id}`;
      expect(run).toMatchObject({
        status: "completed",
        turn: 1,
        attempt: 2,
        error: null,
        checks: { waiting: false, rounds: 1 },
        result: { headBranch: branch, headCommit: lab.commitOf(branch) },
      });
      expect(lab.branches()).toEqual([branch]);
      expect(lab.github.pulls).toMatchObject([{ head: branch, state: "open" }]);
      const log = await readLog(line.client, run.id);
      expect(log.map(({ seq }) => seq)).toEqual(log.map((_, at) => at + 1));
      const told = log.flatMap((event) => (event.type === "checks.finished" ? [event.data.outcome] : []));
      expect(told).toEqual(["fed-back", "passed"]);
      expect(log.filter(({ type }) => type === "checks.started")).toHaveLength(2);
      expect(killed.kills).toBe(POINTS.length);
    }, 300_000);
  },
);
