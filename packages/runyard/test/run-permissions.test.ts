// What a run is granted, on the whole line: server, PostgreSQL, sandbox, git, the built-in agent, and the command line.
import type { Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "permissions" : `permissions cannot be tested: ${unavailable}`, () => {
  const line = useLine();

  const refusals = (log: readonly RunEvent[]) =>
    log.flatMap((event) => (event.type === "permission.resolved" && event.data.decision === "deny" ? [event.data.rule] : []));
  const run = async (name: string, ...words: string[]): Promise<{ run: Run; repository: string }> => {
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, name);
    const done = await line.home.cli(["run", "Do it", "--repo", repository, "--json", ...words]);
    return { run: JSON.parse(done.stdout) as Run, repository };
  };
  const toModel = (): string => JSON.stringify(line.model.requests.at(-1)?.messages);

  test("without write the workspace is read-only, for commands too, and no person can allow an edit", async () => {
    const client = await line.serve([
      { write: ["new.txt", "x\n"] },
      { run: "touch new.txt README.md; rm README.md; git commit --allow-empty -m x; echo $(ls)" },
      { say: "Done." },
    ]);
    const { run: ended } = await run("read-only", "--permissions", "read,execute", "--allow", "edit", "--verify", "! touch by-verify.txt");
    expect(ended).toMatchObject({ status: "completed", result: { headCommit: null } });
    expect(ended.settings.permissions).toEqual([
      "read",
      "execute",
      "repository:read",
      "repository:write",
      "pull_request:create",
      "pull_request:review",
    ]);
    expect(refusals(await readLog(client, ended.id))).toEqual(["no permission to write"]);
    expect(toModel()).toMatch(/Read-only file system[^]*\\nREADME.md\\n/);
  }, 60_000);

  test("without execute no command is run, and files are written", async () => {
    const client = await line.serve([{ run: "touch by-command.txt" }, { write: ["new.txt", "x\n"] }, { say: "Done." }]);
    const { run: ended, repository } = await run("no-commands", "--permissions", "read,write");
    expect(refusals(await readLog(client, ended.id))).toEqual(["no permission to execute"]);
    expect(gitIn(repository, "ls-tree", "-r", "--name-only", `${ended.result?.headBranch}`)).toBe("README.md\nnew.txt");
  }, 60_000);

  test.skipIf(!process.env["RUNYARD_TEST_FULL"])(
    "without repository:write there is a change and no branch, in later turns too (in the full tests)",
    async () => {
      const client = await line.serve([
        { write: ["new.txt", "x\n"] },
        { say: "Done." },
        { run: "cat new.txt && echo y >> new.txt" },
        { say: "Done again." },
      ]);
      const { run: first, repository } = await run("no-branch", "--permissions", "repository:read");
      expect(first).toMatchObject({
        status: "completed",
        result: { headBranch: null, headCommit: expect.any(String) as unknown, filesChanged: 1 },
      });
      expect(await client.runs.patch(first.id)).toContain("+x");
      expect(await line.home.cli(["pull", first.id])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("repository:write") as unknown,
      });
      await client.runs.continue(first.id, "Go on");
      const second = await client.runs.waitForEnd(first.id);
      expect(second).toMatchObject({ status: "completed", turn: 2, result: { headBranch: null, insertions: 2 } });
      expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");
      expect((await line.home.cli(["show", first.id])).stdout).toContain("none: the run has no permission repository:write");
    },
    60_000,
  );

  test("what nothing would keep is refused before anything begins", async () => {
    await line.serve([{ say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "not-kept");
    const refused = await line.home.cli(["run", "Do it", "--repo", repository, "--sandbox", "process", "--permissions", "read"]);
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining("needs the sandbox driver bwrap") as unknown });
    const wrong = await line.home.cli(["run", "Do it", "--repo", repository, "--permissions", "write"]);
    expect(wrong.stderr).toContain("may not `read`");
  }, 60_000);
});
