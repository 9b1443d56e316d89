// Runs that wait for the checks of what they published: server, PostgreSQL, sandbox, git's own http-backend, and a server that
// answers as GitHub's API does.
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { fakeChecks } from "../src/testing/github-checks.ts";
import { type GithubLab, openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
// In npm test the one way that goes through everything; what each part decides is tested beside it.

describe.skipIf(unavailable !== null)(
  unavailable === null ? "checks of what runs publish" : `checks cannot be tested: ${unavailable}`,
  async () => {
    // The check of a commit succeeds where the note says so.
    const fake = fakeChecks({
      judge(commit) {
        const note = lab.filesAt(commit).includes("note.txt") ? lab.fileAt(commit, "note.txt") : null;
        if (note === null) return [];
        if (note === "slow") return [{ name: "unit", status: "in_progress", conclusion: null }];
        const conclusion = note === "good" ? "success" : "failure";
        return [{ name: "unit", status: "completed", conclusion, title: `The note says ${note}` }];
      },
    });
    const lab: GithubLab = await openGithubLab({ more: fake.routes });
    const line = useLine({ env: { ...lab.env, RUNYARD_TEST_POLL_MS: "20" } });

    beforeAll(() => line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token: lab.token }));
    beforeEach(() => lab.begin());
    afterAll(() => lab.close());

    const notes = (...texts: string[]) =>
      texts.flatMap((text) => [{ write: ["note.txt", `${text}\n`] as [string, string] }, { say: `I wrote ${text}.` }]);
    const begin = async (more: Partial<CreateRunRequest> = {}): Promise<string> => {
      const wish = { task: "Write a note", repositoryUrl: lab.repositoryUrl, watchChecks: true, ...more };
      return (await line.client.runs.create(wish)).id;
    };
    const until = async (id: string, isSo: (run: Run) => boolean): Promise<Run> => {
      for (;;) {
        const run = await line.client.runs.get(id);
        if (isSo(run)) return run;
        await sleep(20);
      }
    };
    const ofChecks = async (id: string) =>
      (await readLog(line.client, id)).flatMap((event) => (event.type === "checks.finished" ? [event.data] : []));

    test("a failure goes back to the agent, which goes on in its conversation, and the run ends once the checks succeed", async () => {
      await line.serve(notes("bad", "good"));
      const id = await begin();
      const run = await line.client.runs.waitForEnd(id);
      const branch = `runyard/${id}`;
      expect(run).toMatchObject({
        status: "completed",
        turn: 1,
        attempt: 2,
        responseType: "pr",
        checks: { waiting: false, rounds: 1, retries: 3 },
        result: { headBranch: branch, headCommit: lab.commitOf(branch), summary: "I wrote good." },
      });
      expect(lab.fileAt(branch, "note.txt")).toBe("good");
      expect(lab.github.pulls).toMatchObject([{ head: branch, state: "open" }]);
      const told = (await ofChecks(id)).map(({ outcome, rounds }) => [outcome, rounds]);
      expect(told).toEqual([
        ["fed-back", 1],
        ["passed", 1],
      ]);
      const log = await readLog(line.client, id);
      expect(log.map(({ seq }) => seq)).toEqual(log.map((_, at) => at + 1));
      expect(log.slice(-3).map(({ type }) => type)).toEqual(["checks.finished", "result.pr", "run.completed"]);
      expect(log.filter(({ type }) => type === "checks.started")).toHaveLength(2);
      expect(log.findLast((event) => event.type === "message.user")?.data.text).toContain("## unit: failure");
      // The same conversation: what the agent was told stands behind what it said.
      const last = JSON.stringify(line.model.requests.at(-1)?.messages);
      expect(last).toMatch(/Write a note.*I wrote bad\..*these checks of it did not succeed.*The note says bad/);
    }, 60_000);

    test.skipIf(!isFull)(
      "what fails for good ends the run, and its branch and pull request stay",
      async () => {
        await line.serve(notes("bad", "worse", "good"));
        const { id: repository } = await line.client.repositories.create(lab.repositoryUrl);
        await line.client.repositories.update(repository, { checks: { watch: true, retries: 1, prompts: { unit: "Write good." } } });
        const id = await begin({ watchChecks: undefined });
        const run = await line.client.runs.waitForEnd(id);
        expect(run).toMatchObject({
          status: "failed",
          attempt: 2,
          error: { type: "test-failure" },
          result: { headBranch: `runyard/${id}`, headCommit: lab.commitOf(`runyard/${id}`) },
          checks: { rounds: 1, retries: 1 },
        });
        expect(run.error?.message).toMatch(/did not succeed: unit \(failure, https:.*The agent was told of failures once\./);
        expect(lab.github.pulls).toMatchObject([{ head: `runyard/${id}`, state: "open" }]);
        expect(JSON.stringify(line.model.requests.at(-1)?.messages)).toContain("Write good.");
        await line.client.runs.continue(id, "Once more");
        const later = await line.client.runs.waitForEnd(id);
        expect(later).toMatchObject({ status: "completed", turn: 2, checks: { rounds: 0 } });
        expect(lab.github.pulls).toHaveLength(1);
        await line.client.repositories.update(repository, { checks: null });
      },
      60_000,
    );

    test.skipIf(!isFull)(
      "while it waits it has no runner and no place, and it can be cancelled",
      async () => {
        await line.serve(notes("slow"));
        const id = await begin();
        const waiting = await until(id, ({ checks }) => checks?.waiting === true);
        expect(waiting).toMatchObject({ status: "running", phase: "verifying", result: null, githubPullRequests: [{ state: "open" }] });
        expect((await line.client.status()).runs).toMatchObject({ running: 0, awaitingChecks: 1, queued: 0 });
        const { executionTime } = waiting.usage;
        const asked = lab.github.requests.length;
        await until(id, () => lab.github.requests.length > asked + 2);
        const now = await line.client.runs.cancel(id);
        expect(now).toMatchObject({ status: "cancelled", usage: { executionTime } });
        const log = await readLog(line.client, id);
        expect(log.at(-1)?.type).toBe("run.cancelled");
      },
      60_000,
    );

    test.skipIf(!isFull)(
      "a commit without checks is waited for a while, and no longer",
      async () => {
        await line.serve([{ write: ["other.txt", "x\n"] }, { say: "Done." }]);
        const id = await begin({ publish: "branch" });
        const run = await line.client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", error: null });
        expect(await ofChecks(id)).toMatchObject([{ outcome: "none" }]);
      },
      60_000,
    );

    test.skipIf(!isFull)(
      "where the checks may not be read, the run says so and ends with what it made",
      async () => {
        await line.serve(notes("good"));
        lab.github.fail({ on: "GET /check-runs", answer: { status: 403, message: "Resource not accessible by personal access token" } });
        const id = await begin();
        expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", responseType: "pr" });
        const [told] = await ofChecks(id);
        expect(told).toMatchObject({ outcome: "unknown" });
        expect(told?.message).toMatch(/may not read them: give it the right to read checks/);
      },
      60_000,
    );

    test.skipIf(!isFull)(
      "a replay ends where the run first published, and says that it is not all of it",
      async () => {
        await line.serve(notes("bad", "good"));
        const id = await begin();
        await line.client.runs.waitForEnd(id);
        const replay = await line.client.runs.waitForEnd((await line.client.runs.replay(id)).id);
        expect(replay).toMatchObject({ status: "completed", checks: null, replay: { divergence: { kind: "missing-call" } } });
      },
      60_000,
    );

    test("what cannot be watched is refused", async () => {
      await expect(begin({ publish: "none" })).rejects.toMatchObject({ code: "checks_not_watchable", status: 422 });
    });
  },
);
