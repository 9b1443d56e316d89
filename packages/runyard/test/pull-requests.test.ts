// From a task to a pull request, on the whole line: server, PostgreSQL, sandbox, git's own http-backend, and a server that
// answers as GitHub's API does.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type { CreateRunRequest, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const hasKeygen = spawnSync("ssh-keygen", ["-?"]).error === undefined;
const Z = "\u200b";

describe.skipIf(unavailable !== null)(
  unavailable === null ? "pull requests" : `pull requests cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const { repositoryUrl, token } = lab;
    const line = useLine({ env: { ...lab.env, RUNYARD_PUBLIC_URL: "https://runyard.example.com/" } });

    beforeAll(() => line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token }));
    beforeEach(() => lab.begin());
    afterAll(() => lab.close());

    const run = async (more: Partial<CreateRunRequest> = {}): Promise<Run> => {
      const { id } = await line.client.runs.create({ task: "Write a note", repositoryUrl, ...more });
      return line.client.runs.waitForEnd(id);
    };
    const write = (file: string, said = "Done.") => [{ write: [file, "x\n"] as [string, string] }, { say: said }];

    test("a run leaves a branch and a pull request, and continue goes on with both", async () => {
      const client = await line.serve([
        { write: ["one.txt", "x\n"] },
        { run: "git add --all && git -c user.name=A -c user.email=a@x.invalid commit --quiet --message 'Closes #12'" },
        { say: "Fixes #12, thanks to @octocat. <img src=https://tracker.example/x>" },
        ...write("two.txt"),
      ]);
      const first = await run({
        task: "Write a note\nas told in #7",
        verify: [{ run: "test -f one.txt", kind: "test" }],
        pullRequest: { draft: true, labels: ["by-agent"], reviewers: ["ann"] },
      });
      const branch = `runyard/${first.id}`;
      expect(first).toMatchObject({
        status: "completed",
        error: null,
        publish: "pull_request",
        responseType: "pr",
        pullRequestUrl: `${lab.git.url}/acme/app/pull/1`,
        result: { headBranch: branch, pullRequestUrl: `${lab.git.url}/acme/app/pull/1`, pullRequestProblem: null },
        githubPullRequests: [{ number: 1, state: "open", draft: true, headBranchName: branch, baseBranchName: "main" }],
      });
      expect(lab.commitOf(branch)).toBe(first.result?.headCommit);
      expect(lab.github.pulls).toMatchObject([
        { title: "Write a note", head: branch, base: "main", labels: ["by-agent"], reviewers: ["ann"] },
      ]);
      const body = lab.github.pulls[0]?.body ?? "";
      for (const part of [
        `<!-- runyard:${first.id} -->`,
        `> Write a note\n> as told in #${Z}7`,
        `> Fixes #${Z}12, thanks to @${Z}octocat. <${Z}img src=https://tracker.example/x>`,
        "1 file, +1 −0",
        "- ` test -f one.txt ` (test): passed",
        `https://runyard.example.com/v1/agent-runs/${first.id}`,
      ])
        expect(body).toContain(part);
      const log = await readLog(client, first.id);
      expect(log.slice(-2).map((event) => event.type)).toEqual(["result.pr", "run.completed"]);
      expect(log.find((event) => event.type === "result.pr")?.data).toMatchObject({ pullRequest: { number: 1 } });

      await client.runs.continue(first.id, "Write another one");
      const second = await client.runs.waitForEnd(first.id);
      expect(second).toMatchObject({
        status: "completed",
        turn: 2,
        responseType: "pr",
        result: { headBranch: branch, pullRequestProblem: null },
      });
      expect(second.githubPullRequests).toHaveLength(1);
      expect(lab.github.pulls).toHaveLength(1);
      expect(lab.github.pulls[0]?.body).toContain("### What was asked in turn 2\n\n> Write another one");
      expect(lab.commitOf(branch)).toBe(second.result?.headCommit);
      expect(lab.branches()).toEqual([branch]);
      // What the agent committed itself closes nothing either, and the next turn goes on from there.
      expect(lab.subjects(branch)).toEqual(["Write another one", `Closes #${Z}12`, "First"]);
      expect(log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []))).toContain("commit-messages-changed");
      expect(JSON.stringify([log, second, lab.github.pulls])).not.toContain(token);
    }, 60_000);

    test.runIf(full && hasKeygen)(
      "what is held back is not pushed before it is approved, and signed as it is published",
      async () => {
        const place = mkdtempSync(path.join(tmpdir(), "runyard-signed-"));
        const file = path.join(place, "key");
        execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-C", "", "-f", file, "-N", ""]);
        await line.client.organization.update({ signingKey: readFileSync(file, "utf8") });
        try {
          await line.serve([
            { write: ["one.txt", "x\n"] },
            { run: "git add --all && git -c user.name=A -c user.email=a@x.invalid commit --quiet --message 'Closes #12'" },
            ...write("CODEOWNERS"),
          ]);
          const { id } = await line.client.runs.create({ task: "Write a note", repositoryUrl });
          for await (const event of line.client.runs.events(id)) if (event.type === "result.held") break;
          expect(lab.branches()).not.toContain(`runyard/${id}`);
          expect(lab.github.pulls).toEqual([]);
          await line.client.runs.approve(id);
          const ended = await line.client.runs.waitForEnd(id);
          expect(ended).toMatchObject({ status: "completed", responseType: "pr", result: { approvedBy: { userName: "admin" } } });
          expect(lab.github.pulls).toHaveLength(1);
          const branch = `runyard/${id}`;
          expect(lab.subjects(branch)).toEqual(["Write a note", `Closes #${Z}12`, "First"]);
          // From afar: in a clone that lacks the commits, they come from the server and are the very same.
          const clone = path.join(place, "clone");
          const login = Buffer.from(`x-access-token:${token}`).toString("base64");
          // The server of git is in this very process.
          await promisify(execFile)("git", ["clone", "--quiet", "--single-branch", "--branch", "main", repositoryUrl, clone], {
            env: {
              ...process.env,
              GIT_CONFIG_COUNT: "1",
              GIT_CONFIG_KEY_0: "http.extraHeader",
              GIT_CONFIG_VALUE_0: `Authorization: Basic ${login}`,
            },
          });
          expect(await line.home.cli(["pull", id], { cwd: place })).toMatchObject({
            code: 3,
            stderr: expect.stringContaining(`git clone ${repositoryUrl}`) as string,
          });
          const pulled = await line.home.cli(["pull", id, "--json"], { cwd: clone });
          expect(JSON.parse(pulled.stdout)).toMatchObject({ how: "made", branch, isFetched: true, commit: ended.result?.headCommit });
          writeFileSync(path.join(place, "signers"), `bot@x ${readFileSync(`${file}.pub`, "utf8")}`);
          const verify = ["-c", `gpg.ssh.allowedSignersFile=${path.join(place, "signers")}`, "verify-commit"];
          for (const commit of [branch, `${branch}^`]) gitIn(clone, ...verify, commit);
          expect(lab.commitOf(branch)).toBe(gitIn(clone, "rev-parse", branch));
        } finally {
          await line.client.organization.update({ signingKey: null });
          rmSync(place, { recursive: true });
        }
      },
      60_000,
    );

    test("what GitHub refuses ends with the branch and the reason, and a run without it asks for none", async () => {
      await line.serve([...write("three.txt"), ...write("four.txt")]);
      lab.github.fail({ on: "POST /pulls", answer: { status: 403, message: "Resource not accessible by personal access token" } });
      const refused = await run();
      const branch = `runyard/${refused.id}`;
      expect(refused).toMatchObject({
        status: "completed",
        responseType: "regular",
        pullRequestUrl: null,
        githubPullRequests: [],
        result: { headBranch: branch, pullRequestUrl: null, pullRequestProblem: { code: "not-allowed" } },
      });
      expect(lab.commitOf(branch)).toBe(refused.result?.headCommit);
      expect((await line.home.cli(["show", refused.id])).stdout).toContain(
        "none (not-allowed): GitHub answered 403: Resource not accessible",
      );
      expect(await line.home.cli(["pr", refused.id])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("has no pull request") as unknown,
      });

      const asked = lab.github.requests.length;
      const done = await line.home.cli(["run", "Write a note", "--repo", repositoryUrl, "--publish", "branch", "--json"]);
      const plain = JSON.parse(done.stdout) as Run;
      expect(plain).toMatchObject({
        publish: "branch",
        pullRequest: null,
        responseType: "regular",
        result: { headBranch: `runyard/${plain.id}` },
      });
      expect(lab.github.requests.length).toBe(asked);
    }, 60_000);

    test("what cannot be published that way is refused before anything begins", async () => {
      const local = makeRepository(line.home.root, { "README.md": "# x\n" }, "local");
      const refusals = [
        [["--repo", local, "--publish", "pull_request"], "this one is on the server's machine"],
        [["--repo", repositoryUrl, "--publish", "pull_request", "--permissions", "repository:write"], "pull_request:create"],
        [["--repo", repositoryUrl, "--publish", "none", "--draft"], "leave one of them out"],
        [["--repo", repositoryUrl, "--title", "x\ny"], "must be one line"],
      ] as const;
      for (const [words, said] of refusals) {
        const done = await line.home.cli(["run", "x", ...words, "--json"]);
        expect([done.code === 0, done.stderr]).toEqual([false, expect.stringContaining(said)]);
      }
      expect((await line.client.runs.list({ limit: 1 })).data[0]?.task).not.toBe("x");
    }, 60_000);

    describe.skipIf(!full)("in the full tests", () => {
      test("a run that says nothing is published as its repository and its organization have it", async () => {
        const client = await line.serve([...write("defaults.txt"), ...write("none.txt")]);
        const { cli } = line.home;
        expect((await cli(["organization", "--reviewer", "ann", "--publish", "none"])).stdout).toContain("reviewers ann");
        const set = await cli(["repositories", repositoryUrl, "--publish", "pull_request", "--draft", "--label", "by-agent", "--json"]);
        expect(JSON.parse(set.stdout)).toMatchObject({ publish: "pull_request", pullRequest: { draft: true, labels: ["by-agent"] } });
        try {
          const made = await run();
          expect(made).toMatchObject({ status: "completed", responseType: "pr", githubPullRequests: [{ draft: true }] });
          expect(lab.github.pulls).toMatchObject([{ labels: ["by-agent"], reviewers: ["ann"] }]);
          expect((await cli(["show", made.id])).stdout).toContain(
            "pull_request (repository), draft (repository), labels by-agent (repository), reviewers ann (organization)",
          );
          expect((await cli(["repositories", repositoryUrl, "--publish-default", "--pull-request-default", "--json"])).code).toBe(0);
          expect(await run()).toMatchObject({ publish: "none", result: { headBranch: null }, publishFrom: { publish: "organization" } });
          expect(lab.github.pulls).toHaveLength(1);
        } finally {
          await client.organization.update({ publish: null, pullRequest: null });
        }
      }, 60_000);

      test("what may pass is waited for, and told", async () => {
        const client = await line.serve(write("five.txt"));
        lab.github.fail({ on: "POST /pulls", answer: { status: 503, message: "Unicorn" }, times: 2 });
        lab.github.fail({ on: "GET /pulls", answer: "cut" });
        const { id } = await client.runs.create({ task: "Write a note", repositoryUrl });
        const log = await readLog(client, id);
        const ended = await client.runs.get(id);
        expect(ended).toMatchObject({ status: "completed", responseType: "pr", phase: "publishing" });
        const delays = log.filter((event) => event.type === "notice" && event.data.code === "pull-request-delayed");
        // Tries that failed between two looks are told as one.
        expect([1, 2, 3]).toContain(delays.length);
        expect(lab.github.requests.filter(({ line: asked }) => asked.endsWith("/pulls")).length).toBeGreaterThan(5);
        expect(lab.github.pulls).toHaveLength(1);
      }, 60_000);

      test("behind one that was closed or merged there is a new one, from the same branch", async () => {
        const client = await line.serve([...write("six.txt"), ...write("seven.txt"), ...write("eight.txt")]);
        const first = await run();
        expect(JSON.parse((await line.home.cli(["pr", first.id, "--close", "--json"])).stdout)).toMatchObject({
          number: 1,
          state: "closed",
        });
        expect((await client.runs.get(first.id)).githubPullRequests).toMatchObject([{ number: 1, state: "closed" }]);
        await client.runs.continue(first.id, "Go on");
        const second = await client.runs.waitForEnd(first.id);
        expect(second).toMatchObject({
          pullRequestUrl: `${lab.git.url}/acme/app/pull/2`,
          githubPullRequests: [{ number: 1 }, { number: 2 }],
        });
        expect(lab.github.pulls[1]?.body).toMatch(/^Follows #1, which was closed\./);
        Object.assign(lab.github.pulls[1]!, { state: "closed", mergedAt: "2026-01-03T00:00:00Z" });
        expect((await line.home.cli(["pr", first.id, "--reopen"])).stderr).toContain("was merged, and stays as it is");
        await client.runs.continue(first.id, "Go on");
        const third = await client.runs.waitForEnd(first.id);
        expect(third).toMatchObject({
          result: { headBranch: first.result?.headBranch },
          githubPullRequests: [{}, { merged: true }, { state: "open" }],
        });
        expect((await readLog(client, first.id)).flatMap((event) => (event.type === "notice" ? [event.data.message] : []))).toContain(
          `${lab.git.url}/acme/app/pull/2 was merged: there is a new pull request.`,
        );
      }, 90_000);

      test("a run that is cancelled while it waits has none, and one that is out of time has its branch", async () => {
        const client = await line.serve([...write("nine.txt"), ...write("ten.txt")]);
        lab.github.fail({ on: "GET /pulls", answer: { status: 503, message: "Unicorn" }, times: 1_000 });
        const { id } = await client.runs.create({ task: "Write a note", repositoryUrl });
        for await (const event of client.runs.events(id))
          if (event.type === "notice" && (event.data as { code: string }).code === "pull-request-delayed") await client.runs.cancel(id);
        expect(await client.runs.get(id)).toMatchObject({ status: "cancelled", pullRequestUrl: null });
        const late = await run({ settings: { timeout: 6_000 } });
        expect(late).toMatchObject({
          status: "completed",
          result: { headBranch: `runyard/${late.id}`, pullRequestProblem: { code: "out-of-time" } },
        });
        expect(lab.github.pulls).toEqual([]);
      }, 90_000);

      test("a plan that was approved is told with who approved it", async () => {
        const client = await line.serve([{ say: "1. Write the note @everybody" }, ...write("eleven.txt")]);
        const { id } = await client.runs.create({ task: "Write a note", repositoryUrl, plan: true });
        for (;;) if ((await client.runs.get(id)).status === "awaiting_plan") break;
        await client.runs.confirmPlan(id);
        await client.runs.waitForEnd(id);
        expect(lab.github.pulls[0]?.body).toMatch(/### The plan, version 1, approved by \w+\n\n> 1\. Write the note @\u200beverybody/);
      }, 60_000);
    });
  },
);
