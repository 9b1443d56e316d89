// All agents of a pull request stopped, while its runs are published and while they wait for checks: server, PostgreSQL, sandbox,
// git's own http-backend, and a server that answers as GitHub's API does.
import { setTimeout as sleep } from "node:timers/promises";
import type { PullRequestState, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { fakeChecks } from "../src/testing/github-checks.ts";
import { type GithubLab, openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null || !isFull)(
  unavailable === null ? "agents of a pull request" : `they cannot be tested: ${unavailable}`,
  async () => {
    let conclusion: string | null = null;
    const fake = fakeChecks({
      judge: () => [{ name: "unit", status: conclusion === null ? "in_progress" : "completed", conclusion }],
    });
    const lab: GithubLab = await openGithubLab({ more: fake.routes });
    const line = useLine({ env: { ...lab.env, RUNYARD_TEST_POLL_MS: "20" } });
    beforeAll(() => line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token: lab.token }));
    beforeEach(() => lab.begin());
    afterAll(() => lab.close());

    const url = (number: number): string => `${lab.git.url}/acme/app/pull/${number}`;
    const note = (text: string) => [{ write: ["note.txt", `${text}\n`] as [string, string] }, { say: "Done." }];
    const until = async (id: string, isSo: (run: Run) => boolean): Promise<Run> => {
      for (;;) {
        const run = await line.client.runs.get(id);
        if (isSo(run)) return run;
        await sleep(20);
      }
    };
    const begin = async (): Promise<string> =>
      (await line.client.runs.create({ task: "Write a note", repositoryUrl: lab.repositoryUrl, watchChecks: true })).id;

    test("a run that waits for its checks ends, whatever they say, and goes on once somebody allows it", async () => {
      await line.serve([...note("one"), ...note("two")]);
      conclusion = null;
      const id = await begin();
      await until(id, ({ checks }) => checks?.waiting === true);
      const { cli } = line.home;
      const [stopped, again] = await Promise.all([cli(["pr", "stop", url(1), "--json"]), cli(["pr", "stop", id, "--json"])]);
      const states = [stopped, again].map(({ stdout }) => JSON.parse(stdout) as PullRequestState);
      expect(states.flatMap(({ cancelled }) => cancelled)).toEqual([id]);
      for (const state of states) expect(state).toMatchObject({ url: url(1), stopped: { userName: "admin" } });
      expect(await line.client.runs.get(id)).toMatchObject({ status: "cancelled", pullRequestStop: { url: url(1) } });
      expect((await readLog(line.client, id)).at(-1)).toMatchObject({
        type: "run.cancelled",
        data: { reason: `All agents of ${url(1)} were stopped by admin` },
      });
      // The look that comes now sees a failure, which goes to nobody.
      for (const run of fake.runs) Object.assign(run, { status: "completed", conclusion: "failure" });
      conclusion = "success";

      expect((await cli(["show", id])).stdout).toContain(`by admin; it goes on behind: runyard pr allow ${url(1)}`);
      const refused = await cli(["continue", id, "Go on", "--detach"]);
      expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining(`runyard pr allow ${url(1)}`) as string });
      expect(await cli(["pr", "allow", url(1)])).toMatchObject({ code: 0 });
      expect((await cli(["continue", id, "Go on", "--json"])).code).toBe(0);
      expect(await line.client.runs.get(id)).toMatchObject({ status: "completed", turn: 2, pullRequestStop: null });
      expect(lab.github.pulls).toHaveLength(1);

      await cli(["pr", "stop", id]);
      line.model.play(note("three"));
      expect((await cli(["continue", id, "Go on", "--allow-pull-request", "--json"])).code).toBe(0);
      expect(await line.client.runs.get(id)).toMatchObject({ status: "completed", turn: 3 });
    }, 120_000);

    test("one that is stopped while it is being opened ends its run, which waits for no checks any more", async () => {
      await line.serve(note("four"));
      const stopped: PullRequestState[] = [];
      // GitHub has it, and its run has not heard of that.
      lab.github.watch(async (asked, when) => {
        const isOpened = asked.startsWith("POST") && asked.endsWith("/pulls") && when === "after";
        if (isOpened) stopped.push(await line.client.pullRequests.stop(url(1)));
      });
      const id = await begin();
      const run = await line.client.runs.waitForEnd(id);
      expect(stopped).toMatchObject([{ url: url(1), cancelled: [] }]);
      expect(run).toMatchObject({ status: "cancelled", pullRequestStop: { url: url(1) }, githubPullRequests: [{ number: 1 }] });
      await expect(line.client.runs.continue(id, "Go on")).rejects.toMatchObject({ code: "pull_request_stopped" });
      await line.client.pullRequests.allow(id);
    }, 60_000);

    test("a server that is killed has not forgotten it", async () => {
      await line.serve(note("five"));
      conclusion = null;
      const id = await begin();
      await until(id, ({ checks }) => checks?.waiting === true);
      await line.client.pullRequests.stop(id);
      await line.restart();
      await expect(line.client.runs.continue(id, "Go on")).rejects.toMatchObject({ code: "pull_request_stopped" });
      expect(await line.client.runs.get(id)).toMatchObject({ status: "cancelled" });
    }, 60_000);
  },
);
