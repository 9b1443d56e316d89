// What a repository gives to its runs, on the whole line: on the command line, in a sandbox, and in a pull request.
import type { Repository, Run, RunEstimate } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(
  unavailable === null ? "defaults of a repository" : `defaults of a repository cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const line = useLine({ env: lab.env });
    beforeAll(() => line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token: lab.token }));
    afterAll(() => lab.close());

    const ok = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await line.home.cli(words);
      expect([words, code, stderr]).toEqual([words, 0, ""]);
      return stdout;
    };

    fullTest(
      "a run gets them: it begins from the branch, is told what fails, and is published once that passes",
      async () => {
        const client = await line.serve([
          { write: ["a.txt", "wrong\n"] },
          { say: "Done." },
          { write: ["a.txt", "right\n"] },
          { say: "Corrected." },
          { write: ["b.txt", "x\n"] },
          { say: "Done." },
        ]);
        const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "defaults");
        gitIn(repository, "branch", "next");
        gitIn(repository, "commit", "--quiet", "--allow-empty", "--message", "Second");
        await ok("agents", "create", "careful", "--instructions", "Take care.");
        const options = ["--branch", "next", "--agent", "careful", "--verify", "cat a.txt; grep -q right a.txt", "--verify-build", "true"];
        // Nothing knew of the repository before.
        expect(JSON.parse(await ok("repositories", repository, ...options, "--json")) as Repository).toMatchObject({
          repositoryUrl: repository,
          branch: "next",
          agent: "careful",
          verify: [
            { run: "true", kind: "build" },
            { run: "cat a.txt; grep -q right a.txt", kind: "test" },
          ],
        });
        expect(await ok("repositories", repository)).toMatch(
          /branch +next, unless[^]*agent +careful, unless[^]*verify +true \(build\); cat a\.txt; grep -q right a\.txt \(test\), unless/,
        );
        const estimated = ["run", "Write a", "--repo", repository, "--estimate", "--json"];
        expect(JSON.parse(await ok(...estimated)) as RunEstimate).toEqual(JSON.parse(await ok(...estimated, "--agent", "careful")));

        const run = JSON.parse(await ok("run", "Write a", "--repo", repository, "--json")) as Run;
        expect(run).toMatchObject({
          status: "completed",
          branch: "next",
          baseCommit: gitIn(repository, "rev-parse", "next"),
          agent: { name: "careful" },
          result: { summary: "Corrected." },
          givenFrom: { branch: "repository", agent: "repository", verify: "repository" },
        });
        const passed = (await readLog(client, run.id)).flatMap((event) => (event.type === "verify.finished" ? [event.data.passed] : []));
        expect(passed).toEqual([true, false, true, true]);
        expect(gitIn(repository, "show", `runyard/${run.id}:a.txt`)).toBe("right");
        expect(gitIn(repository, "log", "--format=%s", `runyard/${run.id}`).split("\n")).toEqual(["Write a", "First"]);
        expect(await ok("show", run.id)).toMatch(/given +branch next \(repository\), agent careful \(repository\), verify true \(build\)/);

        const own = JSON.parse(
          await ok("run", "Write b", "--repo", repository, "--branch", "main", "--agent", "builtin", "--no-verify", "--json"),
        ) as Run;
        expect(own).toMatchObject({ status: "completed", branch: "main", agent: { name: null }, verify: [] });
        expect(own.givenFrom).toEqual({ branch: "run", agent: "run", verify: "run" });
        expect(await ok("show", own.id)).not.toContain("given ");

        await client.agents.delete("careful");
        const refused = await line.home.cli(["run", "Write c", "--repo", repository]);
        expect(refused).toMatchObject({ code: 3, stdout: "" });
        expect(refused.stderr.replaceAll(/\s+/g, " ")).toContain("the settings of its repository name careful");
        await ok("repositories", repository, "--no-agent", "--branch", "gone");
        const lost = await line.home.cli(["run", "Write c", "--repo", repository]);
        expect(lost).toMatchObject({ code: 3, stdout: "" });
        expect(lost.stderr.replaceAll(/\s+/g, " ")).toMatch(/There is no branch gone in .* the settings of its repository name gone/);
        const cleared = JSON.parse(await ok("repositories", repository, "--no-branch", "--no-verify", "--json")) as Repository;
        expect(cleared).toMatchObject({ branch: null, agent: null, verify: null });
      },
      120_000,
    );

    test("pull requests go to the branch that the repository names, and a branch that is not there is refused", async () => {
      const client = await line.serve([{ write: ["one.txt", "x\n"] }, { say: "Done." }]);
      gitIn(lab.bare, "branch", "next", "main");
      const { repositoryUrl } = lab;
      const { id } = await client.repositories.create({ repositoryUrl, branch: "next" });
      const made = await client.runs.create({ task: "Write a note", repositoryUrl });
      expect(await client.runs.waitForEnd(made.id)).toMatchObject({ status: "completed", branch: "next", responseType: "pr" });
      expect(lab.github.pulls).toMatchObject([{ head: `runyard/${made.id}`, base: "next" }]);
      await client.repositories.update(id, { branch: "gone" });
      await expect(client.runs.create({ task: "Write a note", repositoryUrl })).rejects.toMatchObject({
        code: "repository_not_usable",
        message: expect.stringMatching(/^There is no branch gone in .*; there is .*\. The run names no branch, and the settings/) as string,
      });
    }, 60_000);
  },
);
