// kill -9 of the server anywhere between a run's commit and its end: there is one branch, one pull request, and the result.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase } from "../src/testing/database.ts";
import { openDatabaseLine } from "../src/testing/database-line.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const isFull = Boolean(process.env["RUNYARD_TEST_FULL"]);

/** Where the server is killed: at a request to git or the API, or at a statement, which is then lost, or done without an answer. */
type Point =
  | { readonly git: "pushed" }
  | { readonly api: string; readonly when: "before" | "after" }
  | { readonly sql: string; readonly fate: "carry" | "cut" };

/** In the order in which they are passed. */
const POINTS: readonly Point[] = [
  { git: "pushed" },
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
/** Those of `npm test`: the steps between which something could be done twice, or lost. */
const FEW = [2, 6, 13].map((at) => POINTS[at]!);
const KILLS = isFull ? 200 : FEW.length;

describe.skipIf(unavailable !== null)(
  unavailable === null ? "a server that is killed" : `kills cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const database = await createTestDatabase();
    const dir = mkdtempSync(path.join(tmpdir(), "runyard-kills-"));
    const pidFile = path.join(dir, "pid");
    let armed: Point | null = null;
    let kills = 0;
    const kill = (): void => {
      armed = null;
      kills += 1;
      process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    };
    const databaseLine = await openDatabaseLine(database.connectionString, (data, from) => {
      if (armed === null || !("sql" in armed) || from !== "client" || !data.includes(armed.sql)) return "carry";
      const { fate } = armed;
      kill();
      return fate;
    });
    // Every server says who it is before it does anything, so that it can be killed before it is ready, too.
    const sayPid = `import{writeFileSync}from"node:fs";if(process.argv[2]==="up")writeFileSync(${JSON.stringify(pidFile)},String(process.pid))`;
    const line = useLine({
      env: {
        ...lab.env,
        DATABASE_URL: databaseLine.url,
        RUNYARD_TEST_POLL_MS: "50",
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(sayPid)}`,
      },
    });
    beforeAll(async () => {
      await line.client.credentials.set({ kind: "token", url: lab.git.url, token: lab.token });
      lab.git.ways.afterPush = () => {
        if (armed === null || !("git" in armed)) return true;
        kill();
        return false;
      };
      lab.github.watch((asked, when) => {
        if (armed === null || !("api" in armed) || armed.when !== when) return;
        const [method = "", end = ""] = armed.api.split(" ");
        if (asked.startsWith(method) && asked.endsWith(end)) kill();
      });
    });
    afterAll(async () => {
      databaseLine.close();
      await database.drop();
      await lab.close();
      rmSync(dir, { recursive: true, force: true });
    });

    /** A run whose server is killed at these points, as far as it passes them, and started again each time. */
    async function runThrough(points: readonly Point[]): Promise<Run> {
      // A connection sends the text of a statement once: a server that has been at work would pass points by.
      await line.restart();
      line.model.play([{ write: ["note.txt", `${kills}\n`] }, { say: "Done." }]);
      let next = 0;
      const arm = (): void => void (armed = points[next++] ?? null);
      arm();
      const { id } = await line.client.runs.create({
        task: "Write a note",
        repositoryUrl: lab.repositoryUrl,
        pullRequest: { labels: ["by-agent"], reviewers: ["ann"] },
      });
      for (let seen = kills; ;) {
        const now = await line.client.runs.get(id).catch(() => null);
        if (kills > seen) {
          seen = kills;
          arm();
          await line.restart().catch((error: unknown) => {
            if (kills === seen) throw error;
          });
        } else if (now !== null && now.finishedAt !== null) return now;
        else await sleep(20);
      }
    }

    test(
      `${KILLS} kills leave one branch, one pull request and the result of each run`,
      async () => {
        const made: string[] = [];
        while (kills < KILLS) {
          const points = isFull ? POINTS.filter((_, at) => (kills + at * 7) % 3 !== 0).slice(0, KILLS - kills) : FEW;
          const before = kills;
          const run = await runThrough(points);
          armed = null;
          const branch = `runyard/${run.id}`;
          made.push(branch);
          const what = JSON.stringify({ points, hits: kills - before, run: run.id, error: run.error });
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
          expect(kills, what).toBeGreaterThan(before);
        }
        expect(lab.branches().toSorted()).toEqual(made.toSorted());
        expect(lab.github.pulls).toHaveLength(made.length);
      },
      isFull ? 1_800_000 : 60_000,
    );
  },
);
