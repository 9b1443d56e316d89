// kill -9 of the server anywhere between a run's publishing and the end of its checks: each failure goes back to the agent once.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase } from "../src/testing/database.ts";
import { openDatabaseLine } from "../src/testing/database-line.ts";
import { fakeChecks } from "../src/testing/github-checks.ts";
import { type GithubLab, openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { readLog } from "../src/testing/server.ts";

const isFull = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";

/** Where the server is killed: at a request to the API, or at a statement, which is then lost, or done without an answer. */
type Point =
  | { readonly api: string; readonly when: "before" | "after" }
  /** `since`: only behind another statement. */
  | { readonly sql: string; readonly fate: "carry" | "cut"; readonly since?: string };

/** In the order in which they are passed; all but the first two are passed once more when the checks succeed. */
const POINTS: readonly Point[] = [
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
    const database = await createTestDatabase();
    const dir = mkdtempSync(path.join(tmpdir(), "runyard-kills-"));
    const pidFile = path.join(dir, "pid");
    let armed: Point | null = null;
    let isSince = false;
    let kills = 0;
    const kill = (): void => {
      armed = null;
      kills += 1;
      process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    };
    const databaseLine = await openDatabaseLine(database.connectionString, (data, from) => {
      if (armed === null || !("sql" in armed) || from !== "client") return "carry";
      if (armed.since !== undefined && data.includes(armed.since)) isSince = true;
      if (!data.includes(armed.sql) || (armed.since !== undefined && !isSince)) return "carry";
      const { fate } = armed;
      kill();
      return fate;
    });
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

    test(`${POINTS.length} kills leave one feedback, one branch and one pull request`, async () => {
      const notes = ["bad", "good"].flatMap((text) => [{ write: ["note.txt", `${text}\n`] as [string, string] }, { say: "Done." }]);
      line.model.play(notes);
      let next = 0;
      const arm = (): void => {
        isSince = false;
        armed = POINTS[next++] ?? null;
      };
      arm();
      const { id } = await line.client.runs.create({ task: "Write a note", repositoryUrl: lab.repositoryUrl, watchChecks: true });
      let run: Run | null = null;
      for (let seen = kills; run === null;) {
        const now = await line.client.runs.get(id).catch(() => null);
        if (kills > seen) {
          seen = kills;
          arm();
          await line.restart().catch((error: unknown) => {
            if (kills === seen) throw error;
          });
        } else if (now !== null && now.finishedAt !== null) run = now;
        else await sleep(20);
      }
      armed = null;
      const branch = `runyard/${id}`;
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
      const log = await readLog(line.client, id);
      expect(log.map(({ seq }) => seq)).toEqual(log.map((_, at) => at + 1));
      const told = log.flatMap((event) => (event.type === "checks.finished" ? [event.data.outcome] : []));
      expect(told).toEqual(["fed-back", "passed"]);
      expect(log.filter(({ type }) => type === "checks.started")).toHaveLength(2);
      expect(kills).toBe(POINTS.length);
    }, 300_000);
  },
);
