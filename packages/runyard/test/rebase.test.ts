// A run's branch is brought up to date with what its base branch is by now: a merge that takes nothing from anybody.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CreateRunRequest, isTerminal, type Run, type RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { isFull } from "../src/testing/full.ts";

const unavailable = isFull ? (await sandboxDriver("bwrap").probe()).reason : "only in the full tests (npm run test:full)";

const FILES = { "README.md": "# x\n", "a.txt": "one\ntwo\nthree\n", "gone.txt": "here\n" };
const FIRST: readonly ModelStep[] = [{ write: ["a.txt", "one\nmine\nthree\n"] }, { write: ["gone.txt", "mine\n"] }, { say: "First." }];

describe.skipIf(unavailable !== null)(unavailable === null ? "rebase" : `rebase is not tested: ${unavailable}`, () => {
  const line = useLine({ flags: ["--unsafe-process"] });

  /** A run that has ended, of the model's script `first`; later turns choose theirs by `[[name]]`. */
  async function endedRun(
    name: string,
    script: Readonly<Record<string, readonly ModelStep[]>> = {},
    {
      driver = "bwrap",
      verify,
      how = {},
    }: { readonly driver?: "bwrap" | "process"; readonly verify?: readonly string[]; readonly how?: Partial<CreateRunRequest> } = {},
  ): Promise<{ id: string; repository: string; first: Run }> {
    const client = await line.serve({ first: FIRST, ...script });
    const repository = makeRepository(line.home.root, FILES, name);
    const { id } = await client.runs.create({
      task: "[[first]] Write",
      repositoryUrl: repository,
      permissionPolicy: { ask: [] },
      ...how,
      settings: { sandboxDriver: driver, ...how.settings },
      ...(verify && { verify: verify.map((run) => ({ run, kind: "test" as const })) }),
    });
    const first = await client.runs.waitForEnd(id);
    expect(first).toMatchObject({ status: "completed", result: { headBranch: `runyard/${id}`, filesChanged: 2 } });
    return { id, repository, first };
  }

  /** A commit on the base branch, of these files; null: removed. */
  function moveBase(repository: string, files: Readonly<Record<string, string | null>>): string {
    for (const [name, content] of Object.entries(files)) {
      if (content === null) rmSync(path.join(repository, name));
      else writeFileSync(path.join(repository, name), content);
    }
    gitIn(repository, "add", "--all");
    gitIn(repository, "commit", "--quiet", "--message", "On the base");
    return gitIn(repository, "rev-parse", "main");
  }

  async function logOf(id: string, turn: number): Promise<RunEvent[]> {
    return (await readLog(line.client, id)).filter((event) => event.turn === turn);
  }

  test.each(["bwrap", "process"] as const)(
    "merges what came to the base since, without an agent, and verifies it (%s)",
    async (driver) => {
      const settings = {
        driver,
        verify: ["cat base.txt a.txt > seen.txt; git log --format=%s -1 >> seen.txt; cat seen.txt; rm seen.txt"],
      };
      const { id, repository, first } = await endedRun(`clean-${driver}`, {}, settings);
      const base = moveBase(repository, { "base.txt": "from the base\n" });
      const asked = line.model.requests.length;
      const { code, stdout } = await line.home.cli(["continue", id, "--rebase", "--json"]);
      expect(code).toBe(0);
      const run = JSON.parse(stdout) as Run;
      expect(run).toMatchObject({ status: "completed", turn: 2, prompt: "Bring the branch up to date with main", error: null });
      expect(line.model.requests.length).toBe(asked);
      const head = run.result?.headCommit ?? "";
      expect(run.result).toMatchObject({ headBranch: `runyard/${id}`, baseCommit: base, filesChanged: 2 });
      expect(gitIn(repository, "rev-parse", `runyard/${id}`)).toBe(head);
      expect(gitIn(repository, "log", "-1", "--format=%P", head)).toBe(`${first.result?.headCommit} ${base}`);
      expect(gitIn(repository, "show", `${head}:base.txt`)).toBe("from the base");
      expect(gitIn(repository, "show", `${head}:a.txt`)).toBe("one\nmine\nthree");
      // What the base brought is no change of the run's.
      expect((await line.client.runs.files(id)).data.map((file) => file.path)).toEqual(["a.txt", "gone.txt"]);
      const log = await logOf(id, 2);
      expect(log.flatMap((event) => (event.type === "base.updated" ? [event.data] : []))).toEqual([
        { branch: "main", commit: base, before: first.baseCommit, outcome: "merged", head, conflicts: [] },
      ]);
      const verified = log.flatMap((event) => (event.type === "verify.finished" ? [event.data] : []));
      expect(verified).toMatchObject([
        { passed: true, output: expect.stringContaining("from the base\none\nmine\nthree\nMerge branch 'main'") as string },
      ]);

      // Once more there is nothing to bring in, and no commit is made.
      await line.client.runs.continue(id, null, { rebase: true });
      const again = await line.client.runs.waitForEnd(id);
      expect(again).toMatchObject({ status: "completed", result: { headCommit: head, baseCommit: base, filesChanged: 2 } });
      expect(again.result?.summary).toMatch(/nothing to bring in/i);
      expect((await logOf(id, 3)).flatMap((event) => (event.type === "base.updated" ? [event.data.outcome] : []))).toEqual(["nothing"]);
    },
    90_000,
  );

  test.each(["bwrap", "process"] as const)(
    "gives conflicts to the agent, with its task behind them (%s)",
    async (driver) => {
      const second: readonly ModelStep[] = [
        ...(driver === "bwrap" ? [{ run: "git status --porcelain; cat a.txt; git add gone.txt" }] : [{ run: "cat a.txt" }]),
        { write: ["a.txt", "one\nboth\nthree\n"] },
        { write: ["more.txt", "more\n"] },
        { say: "Resolved." },
      ];
      const { id, repository, first } = await endedRun(`conflicts-${driver}`, { second }, { driver });
      const base = moveBase(repository, { "a.txt": "one\ntheirs\nthree\n", "gone.txt": null, "base.txt": "from the base\n" });
      await line.client.runs.continue(id, "[[second]] And more", { rebase: true });
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", error: null });
      const told = JSON.stringify(line.model.requests.at(-1)?.messages);
      for (const words of ["- a.txt\\n- gone.txt", "origin/main is what came from main", "When that is done:\\n\\n[[second]] And more"])
        expect(told).toContain(words);
      expect(told).toContain("<<<<<<< HEAD\\nmine\\n=======\\ntheirs\\n>>>>>>> origin/main");
      const head = run.result?.headCommit ?? "";
      expect(run.result).toMatchObject({ headBranch: `runyard/${id}`, baseCommit: base, filesChanged: 3 });
      expect(gitIn(repository, "log", "-1", "--format=%P", `runyard/${id}`)).toBe(`${first.result?.headCommit} ${base}`);
      expect(gitIn(repository, "show", `${head}:a.txt`)).toBe("one\nboth\nthree");
      expect(gitIn(repository, "show", `${head}:gone.txt`)).toBe("mine");
      expect(gitIn(repository, "show", `${head}:base.txt`)).toBe("from the base");
      expect((await logOf(id, 2)).flatMap((event) => (event.type === "base.updated" ? [event.data] : []))).toMatchObject([
        { outcome: "conflicts", head: null, conflicts: ["a.txt", "gone.txt"] },
      ]);
    },
    90_000,
  );

  test("what is left unresolved is not published: the branch stays as it was, and the merge can be begun anew", async () => {
    const left: readonly ModelStep[] = [{ run: "sed -i '/^[<>]/d' a.txt; git rm -q gone.txt" }, { say: "Not quite." }];
    const undecided: readonly ModelStep[] = [{ write: ["a.txt", "one\nboth\nthree\n"] }, { say: "One of two." }];
    const aborted: readonly ModelStep[] = [{ run: "git merge --abort; cat a.txt" }, { say: "No." }];
    const good: readonly ModelStep[] = [
      { write: ["a.txt", "one\nboth\nthree\n"] },
      { run: "git rm -q gone.txt; git commit -qam Mine" },
      { say: "Yes." },
    ];
    const { id, repository, first } = await endedRun("unresolved", { left, undecided, aborted, good });
    const base = moveBase(repository, { "a.txt": "one\ntheirs\nthree\n", "gone.txt": null, "base.txt": "from the base\n" });
    const branch = `runyard/${id}`;
    for (const [prompt, why] of [
      ["[[left]]", "there are conflicts left in a.txt."],
      ["[[undecided]]", "there are conflicts left in gone.txt."],
      ["[[aborted]]", "the agent took the merge back."],
    ] as const) {
      await line.client.runs.continue(id, prompt, { rebase: true });
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({
        status: "failed",
        result: null,
        error: { type: "merge-failed", message: expect.stringContaining(why) as string },
      });
      expect(gitIn(repository, "rev-parse", branch)).toBe(first.result?.headCommit);
    }
    await line.client.runs.continue(id, "[[good]]", { rebase: true });
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", error: null, result: { headBranch: branch, baseCommit: base } });
    expect(gitIn(repository, "log", "-1", "--format=%P", branch)).toBe(`${first.result?.headCommit} ${base}`);
    expect(gitIn(repository, "ls-tree", "--name-only", branch).split("\n")).toEqual(["README.md", "a.txt", "base.txt"]);
  }, 120_000);

  async function refusal(id: string, options: { prompt?: string; plan?: boolean } = {}): Promise<{ code: string; message: string }> {
    const { prompt = null, ...more } = options;
    const asked = prompt === null ? { ...more, rebase: true as const } : more;
    return line.client.runs.continue(id, prompt as null, asked as { rebase: true }).then(
      () => expect.unreachable("it was taken"),
      (error: unknown) => error as { code: string; message: string },
    );
  }

  test("says what stands in the way before a turn begins: a plan, a base that is gone, none at all, further repositories", async () => {
    const { id, repository } = await endedRun("refused");
    expect(await refusal(id, { plan: true })).toMatchObject({
      code: "rebase_not_possible",
      message: expect.stringContaining("--no-plan") as string,
    });
    gitIn(repository, "branch", "--move", "main", "trunk");
    expect(await refusal(id)).toMatchObject({
      code: "repository_not_usable",
      message: expect.stringContaining(`There is no branch main in ${repository}; there is`) as string,
    });
    gitIn(repository, "branch", "--move", "trunk", "main");
    const words = await line.home.cli(["continue", id]);
    expect(words).toMatchObject({ code: 2, stderr: expect.stringContaining("Say what to do next.") as string });
    expect(await line.client.runs.get(id)).toMatchObject({ status: "completed", turn: 1 });

    gitIn(repository, "checkout", "--quiet", "--detach");
    const detached = await line.client.runs.create({ task: "[[first]]", repositoryUrl: repository, settings: { sandboxDriver: "bwrap" } });
    await line.client.runs.waitForEnd(detached.id);
    expect(await refusal(detached.id)).toMatchObject({
      code: "rebase_not_possible",
      message: expect.stringContaining("detached head") as string,
    });
    gitIn(repository, "checkout", "--quiet", "main");

    const beside = makeRepository(line.home.root, { "x.txt": "x\n" }, "refused-beside");
    const two = await line.client.runs.create({
      task: "[[first]]",
      repositoryUrl: repository,
      repositories: [{ repositoryUrl: beside, access: "read" }],
      settings: { sandboxDriver: "bwrap" },
    });
    await line.client.runs.waitForEnd(two.id);
    expect(await refusal(two.id)).toMatchObject({
      code: "rebase_not_possible",
      message: expect.stringContaining("further repositories") as string,
    });
  }, 90_000);

  test("a base that was made anew ends the turn, and the branch and its next turns stay as they were", async () => {
    const { id, repository, first } = await endedRun("unrelated", { second: [{ write: ["two.txt", "2\n"] }, { say: "Two." }] });
    gitIn(repository, "checkout", "--quiet", "--orphan", "other");
    gitIn(repository, "commit", "--quiet", "--message", "Anew");
    gitIn(repository, "branch", "--move", "--force", "other", "main");
    await line.client.runs.continue(id, null, { rebase: true });
    const failed = await line.client.runs.waitForEnd(id);
    expect(failed.error).toMatchObject({ type: "merge-failed", message: expect.stringContaining("no commit in common") as string });
    await line.client.runs.continue(id, "[[second]]");
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", result: { baseCommit: first.baseCommit, filesChanged: 3 } });
    expect(gitIn(repository, "log", "-1", "--format=%P", `runyard/${id}`)).toBe(first.result?.headCommit);
  }, 90_000);

  test("a branch that somebody pushed to or moved stays theirs: the merge is another branch", async () => {
    const { id, repository } = await endedRun("moved");
    const branch = `runyard/${id}`;
    gitIn(repository, "checkout", "--quiet", branch);
    writeFileSync(path.join(repository, "theirs.txt"), "a person's\n");
    gitIn(repository, "add", "--all");
    gitIn(repository, "commit", "--quiet", "--message", "By a person");
    const theirs = gitIn(repository, "rev-parse", "HEAD");
    gitIn(repository, "checkout", "--quiet", "main");
    const base = moveBase(repository, { "base.txt": "from the base\n" });
    await line.client.runs.continue(id, null, { rebase: true });
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", result: { headBranch: `${branch}-2`, baseCommit: base } });
    expect(gitIn(repository, "rev-parse", branch)).toBe(theirs);
    expect((await logOf(id, 2)).flatMap((event) => (event.type === "notice" ? [event.data.code] : []))).toContain("branch-in-the-way");
  }, 60_000);

  test("what a turn left uncommitted is committed first; what was merged into the base already goes on from there", async () => {
    const client = await line.serve({
      half: [{ write: ["half.txt", "half\n"] }, { run: "echo begun; sleep 987656" }],
      more: [{ run: "git log --format=%s -3; cat half.txt base.txt" }, { write: ["more.txt", "more\n"] }, { say: "More." }],
    });
    const repository = makeRepository(line.home.root, FILES, "left");
    const { id } = await client.runs.create({ task: "[[half]] Begin", repositoryUrl: repository, settings: { sandboxDriver: "bwrap" } });
    for await (const event of client.runs.events(id))
      if (event.type === "tool.updated" && JSON.stringify(event.data).includes("begun")) break;
    await client.runs.cancel(id);
    await client.runs.waitForEnd(id);
    moveBase(repository, { "base.txt": "from the base\n" });
    await client.runs.continue(id, "[[more]]", { rebase: true });
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", error: null, result: { filesChanged: 2 } });
    const branch = `runyard/${id}`;
    expect(gitIn(repository, "log", "--first-parent", "--format=%s", branch).split("\n")).toEqual([
      "[[more]]",
      `Merge branch 'main' into ${branch}`,
      "[[more]]",
      "First",
    ]);
    expect(JSON.stringify(line.model.requests.at(-1)?.messages)).toContain("half\\nfrom the base");

    // Somebody merges it: with nothing of its own, the run has no change against its base.
    gitIn(repository, "merge", "--quiet", "--no-ff", "--no-edit", branch);
    const merged = gitIn(repository, "rev-parse", "main");
    await client.runs.continue(id, null, { rebase: true });
    const after = await client.runs.waitForEnd(id);
    expect(after).toMatchObject({ status: "completed", result: { headBranch: null, headCommit: null, baseCommit: merged } });
    expect((await logOf(id, 3)).flatMap((event) => (event.type === "base.updated" ? [event.data.outcome] : []))).toEqual(["forwarded"]);
    await client.runs.continue(id, "[[more]] again");
    expect((await client.runs.waitForEnd(id)).status).toBe("completed");
  }, 120_000);

  test("a merge that does not pass its checks is not published, and the next turn goes on with it", async () => {
    const fix: readonly ModelStep[] = [{ run: "rm bad.txt" }, { say: "Fixed." }];
    const { id, repository, first } = await endedRun("verified", { fix }, { verify: ["test ! -f bad.txt"] });
    const base = moveBase(repository, { "bad.txt": "bad\n" });
    await line.client.runs.continue(id, null, { rebase: true });
    const failed = await line.client.runs.waitForEnd(id);
    expect(failed.error).toMatchObject({ type: "test-failure", message: expect.stringContaining("No agent was at work") as string });
    expect(gitIn(repository, "rev-parse", `runyard/${id}`)).toBe(first.result?.headCommit);
    // Until there is another one, the change is that of before.
    expect((await line.client.runs.diff(id)).baseCommit).toBe(first.baseCommit);
    await line.client.runs.continue(id, "[[fix]]");
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", result: { baseCommit: base, filesChanged: 3 } });
    expect((await line.client.runs.diff(id)).files.map((file) => file.path)).toEqual(["a.txt", "bad.txt", "gone.txt"]);
    expect(gitIn(repository, "log", "-1", "--format=%P", `runyard/${id}~1`)).toBe(`${first.result?.headCommit} ${base}`);
  }, 90_000);

  test.each([
    ["its agent", { verifyRetries: 1 }],
    ["another attempt", { verifyRetries: 0, settings: { maxRetries: 1, retryableErrors: ["test-failure" as const] } }],
  ])(
    "what does not pass its checks goes back to %s in the middle of the merge; protected files are those of the run",
    async (to, how) => {
      const second: readonly ModelStep[] = [
        { run: "git status --porcelain; test ! -f OWNERS || cat OWNERS" },
        { write: ["a.txt", "one\nboth\nthree\n"] },
        { write: ["CODEOWNERS", "* @ann\n"] },
        { say: "Resolved." },
      ];
      const { id, repository, first } = await endedRun(
        `checks-${how.verifyRetries}`,
        { second },
        { verify: ["test ! -f base.txt || test -f .git/seen || { touch .git/seen; exit 1; }"], how },
      );
      const base = moveBase(repository, { "a.txt": "one\ntheirs\nthree\n", "base.txt": "from the base\n", OWNERS: "none\n" });
      await line.client.runs.continue(id, "[[second]]", { rebase: true });
      for await (const event of line.client.runs.events(id, { after: first.lastSeq })) if (event.type === "result.held") break;
      const held = await line.client.runs.get(id);
      expect(held.waitingFor[0]?.files?.map((file) => file.path)).toEqual(["CODEOWNERS"]);
      expect(gitIn(repository, "rev-parse", `runyard/${id}`)).toBe(first.result?.headCommit);
      await line.client.runs.approve(id);
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({
        status: "completed",
        error: null,
        result: { baseCommit: base, filesChanged: 3, headCommit: held.result?.headCommit },
      });
      expect(gitIn(repository, "log", "-1", "--format=%P", `runyard/${id}`)).toBe(`${first.result?.headCommit} ${base}`);
      const log = await logOf(id, 2);
      expect(log.filter(({ type }) => type === "base.updated")).toHaveLength(1);
      expect(run.attempt).toBe(to === "its agent" ? 3 : 4);
      expect(log.flatMap((event) => (event.type === "verify.finished" ? [event.data.passed] : []))).toEqual([false, true]);
    },
    90_000,
  );

  test("a protected file that somebody approved is asked about again only where the base or the run has changed it since", async () => {
    const lines = (first: string, last: string): string => `${first}\n${"same\n".repeat(20)}${last}\n`;
    const client = await line.serve({
      owners: [{ write: ["CODEOWNERS", "* @ann\n"] }, { write: ["ci.yml", lines("mine", "last")] }, { say: "First." }],
      keep: [{ run: "git add CODEOWNERS" }, { say: "Kept mine." }],
    });
    const files = { "README.md": "# x\n", CODEOWNERS: "* @all\n", "ci.yml": lines("first", "last") };
    const repository = makeRepository(line.home.root, files, "approved-before");
    await client.organization.update({ protectedPaths: [{ pattern: "ci.yml", policy: "approve" }] });
    const settings = { sandboxDriver: "bwrap" } as const;
    const { id } = await client.runs.create({ task: "[[owners]]", repositoryUrl: repository, permissionPolicy: { ask: [] }, settings });
    /** What is asked about, and approved; and how the turn ends. */
    const asked = async (): Promise<(string[] | undefined)[]> => {
      const all: (string[] | undefined)[] = [];
      for (;;) {
        const run = await client.runs.get(id);
        if (isTerminal(run.status)) {
          expect(run).toMatchObject({ status: "completed", error: null });
          return all;
        }
        if (run.status === "awaiting_input") {
          all.push(run.waitingFor[0]?.files?.map((file) => file.path));
          await client.runs.approve(id);
        } else await sleep(50);
      }
    };
    expect(await asked()).toEqual([["CODEOWNERS", "ci.yml"]]);
    moveBase(repository, { "base.txt": "from the base\n" });
    await client.runs.continue(id, null, { rebase: true });
    expect(await asked()).toEqual([]);
    // Both have changed it by now, and nobody has seen what comes of that.
    moveBase(repository, { "ci.yml": lines("first", "theirs") });
    await client.runs.continue(id, null, { rebase: true });
    expect(await asked()).toEqual([["ci.yml"]]);
    // The base has taken it away, and the agent keeps it.
    moveBase(repository, { CODEOWNERS: null });
    await client.runs.continue(id, "[[keep]]", { rebase: true });
    expect(await asked()).toEqual([["CODEOWNERS"]]);
    await client.organization.update({ protectedPaths: null });
  }, 120_000);

  test("what cannot be merged leaves the branch, and the next turn has nothing of it", async () => {
    const name = "tab\there.txt";
    const client = await line.serve({
      odd: [{ run: "printf 'mine\\n' > \"$(printf 'tab\\there.txt')\"" }, { say: "First." }],
      more: [{ write: ["more.txt", "more\n"] }, { say: "More." }],
    });
    const repository = makeRepository(line.home.root, { ...FILES, [name]: "a\n" }, "odd-name");
    const { id } = await client.runs.create({ task: "[[odd]]", repositoryUrl: repository, settings: { sandboxDriver: "bwrap" } });
    const first = await client.runs.waitForEnd(id);
    expect(first.result).toMatchObject({ filesChanged: 1 });
    moveBase(repository, { [name]: "theirs\n", "base.txt": "from the base\n" });
    await client.runs.continue(id, null, { rebase: true });
    const failed = await client.runs.waitForEnd(id);
    expect(failed.error).toMatchObject({ type: "merge-failed", message: expect.stringContaining("control characters") as string });
    expect(gitIn(repository, "rev-parse", `runyard/${id}`)).toBe(first.result?.headCommit);
    await client.runs.continue(id, "[[more]]");
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", result: { baseCommit: first.baseCommit, filesChanged: 2 } });
    expect(gitIn(repository, "log", "-1", "--format=%P", `runyard/${id}`)).toBe(first.result?.headCommit);
  }, 90_000);

  test("all commits of a merge are signed, and none of the base's", async ({ skip }) => {
    const key = path.join(line.home.root, "signing-key");
    try {
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
    } catch {
      skip("ssh-keygen is not there");
    }
    await line.client.organization.update({ signingKey: readFileSync(key, "utf8") });
    try {
      const { id, repository, first } = await endedRun("signed", { second: [{ write: ["two.txt", "2\n"] }, { say: "Two." }] });
      const base = moveBase(repository, { "base.txt": "from the base\n" });
      await line.client.runs.continue(id, "[[second]]", { rebase: true });
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", result: { filesChanged: 3 } });
      const branch = `runyard/${id}`;
      const isSigned = (commit: string): boolean => gitIn(repository, "cat-file", "commit", commit).includes("\ngpgsig ");
      expect([branch, `${branch}~1`, `${branch}~2`].map(isSigned)).toEqual([true, true, true]);
      expect(isSigned("main")).toBe(false);
      expect(gitIn(repository, "log", "-1", "--format=%P", `${branch}~1`)).toBe(`${first.result?.headCommit} ${base}`);
    } finally {
      await line.client.organization.update({ signingKey: null });
    }
  }, 90_000);
});
