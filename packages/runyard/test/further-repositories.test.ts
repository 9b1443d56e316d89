// A run with several repositories: the first one is its workspace, the others lie beside it.
import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import path from "node:path";
import { RunyardApiError } from "@runyard/sdk";
import type { CreateRunRequest, FurtherRepositoryRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { repositoryCachePath } from "../src/git/cache.ts";
import { homeAt } from "../src/home.ts";
import { attemptDirs } from "../src/runner/directories.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

/** Several whole runs take their time. */
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

function outputsOf(log: readonly RunEvent[], kind: string): (string | null)[] {
  return log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === kind ? [event.data.output] : []));
}

function noticesOf(log: readonly RunEvent[]): string[] {
  return log.flatMap((event) => (event.type === "notice" ? [`${event.data.code}: ${event.data.message}`] : []));
}

describe.skipIf(unavailable !== null)(unavailable === null ? "further repositories" : `not tested: ${unavailable}`, () => {
  const line = useLine({ flags: ["--unsafe-process"] });

  /** Three repositories of one commit each. */
  function three(name: string): { app: string; lib: string; docs: string } {
    const [app, lib, docs] = ["app", "lib", "docs"].map((one) =>
      makeRepository(line.home.root, { [`${one}.txt`]: `${one}\n`, ".gitignore": "*.log\n" }, `${name}/${one}`),
    ) as [string, string, string];
    return { app, lib, docs };
  }

  function create(input: CreateRunRequest): Promise<Run> {
    return line.client.runs.create({ ...input, settings: { sandboxDriver: "bwrap" } });
  }

  /** Until the model is asked for this step: whatever the agent was to do before is done. */
  async function askedFor(step: number): Promise<void> {
    await expect.poll(() => line.model.requests.at(-1)?.step, { timeout: 30_000 }).toBe(step);
  }

  test.each(full ? (["bwrap", "process"] as const) : (["bwrap"] as const))(
    "are changed beside the first one, and each that was changed has a branch of its own (%s)",
    async (sandbox) => {
      const client = await line.serve([
        { write: ["app.txt", "changed\n"] },
        { write: ["../repositories/lib/new.txt", "new\n"] },
        { read: "../repositories/manual/docs.txt" },
        {
          run: "echo kept >../repositories/lib/kept.log; cat ../repositories/*/*.txt; git -C ../repositories/lib log --format=%s; git -C ../repositories/lib status --porcelain",
        },
        { say: "Done." },
        { run: "cat ../repositories/lib/new.txt ../repositories/lib/kept.log; git -C ../repositories/lib log --format=%s" },
        { write: ["../repositories/lib/second.txt", "second\n"] },
        { write: ["../repositories/manual/docs.txt", "told\n"] },
        { say: "Done again." },
      ]);
      const { app, lib, docs } = three(`changed-${sandbox}`);
      gitIn(lib, "branch", "next");
      const created = await client.runs.create({
        task: "Change both",
        repositoryUrl: app,
        repositories: [
          { repositoryUrl: lib, branch: "next" },
          { repositoryUrl: docs, name: "manual" },
        ],
        permissionPolicy: { ask: [] },
        settings: { sandboxDriver: sandbox },
      });
      const [libBase, docsBase] = [lib, docs].map((one) => gitIn(one, "rev-parse", "HEAD")) as [string, string];
      expect(created.repositories).toEqual([
        { name: "lib", repositoryUrl: lib, branch: "next", baseCommit: libBase, access: "write" },
        { name: "manual", repositoryUrl: docs, branch: "main", baseCommit: docsBase, access: "write" },
      ]);
      const run = await client.runs.waitForEnd(created.id);
      const log = await readLog(client, run.id);
      expect(run.error).toBeNull();
      expect(log.find((event) => event.type === "message.user")?.data).toEqual({
        text: `Change both

Further git repositories belong to the task. They lie beside your working directory:

- ../repositories/lib: yours to change; what you leave there becomes a branch of it
- ../repositories/manual: yours to change; what you leave there becomes a branch of it`,
      });
      expect(outputsOf(log, "execute")).toEqual(["lib\nnew\ndocs\nFirst\n?? new.txt\n"]);
      const branch = `runyard/${run.id}`;
      expect(run.result).toMatchObject({ headBranch: branch, filesChanged: 1, insertions: 1, deletions: 1 });
      const libHead = gitIn(lib, "rev-parse", branch);
      const figures = { filesChanged: 0, insertions: 0, deletions: 0 };
      const unchanged = { name: "manual", repositoryUrl: docs, headBranch: null, headCommit: null, baseCommit: docsBase, ...figures };
      const changed = { name: "lib", repositoryUrl: lib, headBranch: branch, headCommit: libHead, baseCommit: libBase, ...figures };
      expect(run.result?.repositories).toEqual([
        { ...changed, filesChanged: 1, insertions: 1, problem: null },
        { ...unchanged, problem: null },
      ]);
      expect(gitIn(lib, "log", "--format=%s", branch).split("\n")).toEqual(["Change both", "First"]);
      expect(gitIn(lib, "show", "--stat", "--format=%b", branch)).toContain(`Runyard-Run: ${run.id}`);
      expect(gitIn(docs, "branch", "--list", "runyard/*")).toBe("");
      expect(existsSync(path.join(lib, "new.txt"))).toBe(false);

      // What was changed there can be asked for by its name.
      const of = { repository: "lib" };
      expect((await client.runs.files(run.id, of)).data.map((file) => file.path)).toEqual(["new.txt"]);
      expect(await client.runs.diff(run.id, of)).toMatchObject({ baseCommit: libBase, headCommit: libHead, files: [{ path: "new.txt" }] });
      expect(await client.runs.patch(run.id, of)).toContain("+++ b/new.txt");
      expect(Buffer.from(await client.runs.file(run.id, "lib.txt", of)).toString()).toBe("lib\n");
      expect(await client.runs.patch(run.id, { repository: "manual" })).toBe("");
      expect((await client.runs.files(run.id)).data.map((file) => file.path)).toEqual(["app.txt"]);
      expect(await refusal(client.runs.diff(run.id, { repository: "nothing" }))).toBe(
        `repository_not_found: Run ${run.id} has no further repository nothing. It has: lib, manual.`,
      );

      // The next turn goes on in all of them, with what git ignores.
      await client.runs.continue(run.id, "Go on");
      const second = await client.runs.waitForEnd(run.id);
      expect(second.error).toBeNull();
      expect(outputsOf((await readLog(client, run.id)).slice(log.length), "execute")).toEqual(["new\nkept\nChange both\nFirst\n"]);
      expect(second.result).toMatchObject({ headBranch: branch, filesChanged: 1 });
      expect(second.result?.repositories).toMatchObject([
        { name: "lib", headBranch: branch, filesChanged: 2, problem: null },
        { name: "manual", headBranch: branch, filesChanged: 1, problem: null },
      ]);
      expect(gitIn(lib, "log", "--format=%s", branch).split("\n")).toEqual(["Go on", "Change both", "First"]);
      expect(gitIn(docs, "log", "--format=%s", branch).split("\n")).toEqual(["Go on", "First"]);
      expect(gitIn(app, "log", "--format=%s", branch).split("\n")).toEqual(["Change both", "First"]);
    },
    60_000,
  );

  test("one that may only be read cannot be written, and is seen by what verifies", async () => {
    const client = await line.serve([
      {
        run: "echo x >../repositories/lib/lib.txt; echo x >/repositories/lib/new.txt; cat /repositories/lib/lib.txt; echo y >../repositories/docs/new.txt",
      },
      { write: ["../repositories/lib/lib.txt", "changed\n"] },
      { say: "Done." },
    ]);
    const { app, lib, docs } = three("read");
    const { id } = await create({
      task: "Look",
      repositoryUrl: app,
      repositories: [{ repositoryUrl: lib, access: "read" }, { repositoryUrl: docs }],
      verify: [{ run: "grep lib ../repositories/lib/lib.txt && grep y ../repositories/docs/new.txt", kind: "test" }],
    });
    const run = await client.runs.waitForEnd(id);
    const log = await readLog(client, id);
    expect(run).toMatchObject({ status: "completed", error: null, repositories: [{ name: "lib", access: "read" }, { name: "docs" }] });
    expect(outputsOf(log, "execute")).toEqual([
      expect.stringMatching(/Read-only file system[^]*Read-only file system[^]*\nlib\n/) as string,
    ]);
    expect(log.find((event) => event.type === "tool.finished" && event.data.kind === "edit")?.data).toMatchObject({ status: "failed" });
    expect(JSON.stringify(log[1]?.data)).toContain("- ../repositories/lib: only to be read");
    expect(run.result?.repositories).toMatchObject([
      { name: "lib", headBranch: null },
      { name: "docs", headBranch: `runyard/${id}` },
    ]);
    expect(gitIn(lib, "branch", "--list", "runyard/*")).toBe("");
  });

  test.runIf(full)("policies treat their paths as inside of the workspace", async () => {
    const client = await line.serve([
      { write: ["../repositories/lib/ok.txt", "ok\n"] },
      { write: ["../repositories/lib/secret.txt", "no\n"] },
      { write: ["../repositories/docs/docs.txt", "no\n"] },
      { say: "Done." },
    ]);
    const { app, lib, docs } = three("policy");
    const { id } = await create({
      task: "Write",
      repositoryUrl: app,
      repositories: [{ repositoryUrl: lib }, { repositoryUrl: docs }],
      permissionPolicy: {
        rules: [
          { decision: "deny", kinds: ["edit"], paths: ["**/secret.txt"] },
          { decision: "allow", kinds: ["edit"], paths: ["../repositories/lib/**"] },
        ],
        default: "deny",
      },
    });
    const run = await client.runs.waitForEnd(id);
    const decided = (await readLog(client, id)).flatMap((event) =>
      event.type === "permission.resolved" ? [[event.data.decision, event.data.rule]] : [],
    );
    expect(decided).toEqual([
      ["allow", "rule 2"],
      ["deny", "rule 1"],
      ["deny", "default"],
    ]);
    expect(run.result?.repositories).toMatchObject([{ filesChanged: 1 }, { filesChanged: 0 }]);
  });

  test.runIf(full)("what a plan phase changes in them is named and dropped", async () => {
    const client = await line.serve([
      { run: "echo early >../repositories/lib/early.txt; echo early >early.txt" },
      { calls: [{ name: "propose_plan", input: { plan: "1. Write it." } }] },
      { say: "Planned." },
      { run: "ls ../repositories/lib; echo kept >../repositories/lib/kept.log" },
      { write: ["../repositories/lib/new.txt", "new\n"] },
      { say: "Done." },
      // In a later turn the plan is made in a copy, of what git ignores too; what differs from that counts.
      { run: "cat ../repositories/lib/new.txt ../repositories/lib/kept.log; echo x >../repositories/lib/again.txt" },
      { calls: [{ name: "propose_plan", input: { plan: "2. Write more." } }] },
      { say: "Planned again." },
      { run: "ls ../repositories/lib" },
      { say: "Done again." },
    ]);
    const { app, lib } = three("plan");
    const { id } = await create({
      task: "Plan it",
      repositoryUrl: app,
      repositories: [{ repositoryUrl: lib }],
      plan: true,
      permissionPolicy: {},
    });
    const confirm = async (): Promise<unknown> => {
      await expect.poll(async () => (await client.runs.get(id)).status, { timeout: 30_000 }).toBe("awaiting_plan");
      return client.runs.confirmPlan(id);
    };
    await confirm();
    const run = await client.runs.waitForEnd(id);
    const log = await readLog(client, id);
    expect(run.error).toBeNull();
    expect(noticesOf(log)).toEqual([
      expect.stringMatching(/^plan-wrote-files: .*: early\.txt, \.\.\/repositories\/lib\/early\.txt\. They were dropped/),
    ]);
    expect(outputsOf(log, "execute").at(-1)).toBe("lib.txt\n");
    expect(gitIn(lib, "diff", "--name-only", "main", `runyard/${id}`)).toBe("new.txt");

    await client.runs.continue(id, "Go on");
    await confirm();
    expect((await client.runs.waitForEnd(id)).error).toBeNull();
    const rest = (await readLog(client, id)).slice(log.length);
    expect(noticesOf(rest)).toEqual([expect.stringMatching(/^plan-wrote-files: .*: \.\.\/repositories\/lib\/again\.txt\. They/)]);
    expect(outputsOf(rest, "execute")).toEqual(["new\nkept\n", "kept.log\nlib.txt\nnew.txt\n"]);
  });

  test.runIf(full)("where one cannot be given its branch the run says which, and the others have theirs", async () => {
    let go = (): void => {};
    const client = await line.serve({
      first: [
        { write: ["app.txt", "changed\n"] },
        { write: ["../repositories/lib/new.txt", "new\n"] },
        { write: ["../repositories/docs/new.txt", "new\n"] },
        { say: "Done.", until: new Promise<void>((resolve) => (go = resolve)) },
      ],
      more: [{ say: "Nothing more." }],
    });
    const { app, lib, docs } = three("gone");
    const { id } = await create({
      task: "[[first]] Change all",
      repositoryUrl: app,
      repositories: [{ repositoryUrl: lib }, { repositoryUrl: docs }],
    });
    await askedFor(3);
    renameSync(lib, `${lib}.moved`);
    gitIn(docs, "commit", "--quiet", "--allow-empty", "--message", "Elsewhere");
    go();
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", result: { headBranch: `runyard/${id}` } });
    expect(run.result?.repositories).toMatchObject([
      {
        name: "lib",
        headBranch: null,
        headCommit: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
        filesChanged: 1,
        problem: `There is no folder ${lib} on the server's machine.`,
      },
      { name: "docs", headBranch: `runyard/${id}`, problem: null },
    ]);
    expect(noticesOf(await readLog(client, id))).toEqual([
      `repository-not-published: lib: There is no folder ${lib} on the server's machine.`,
    ]);
    // The next turn gives it what this one could not.
    renameSync(`${lib}.moved`, lib);
    await client.runs.continue(id, "[[more]] Try again");
    const second = await client.runs.waitForEnd(id);
    expect(second.result?.repositories).toMatchObject([{ name: "lib", headBranch: `runyard/${id}`, problem: null }, { name: "docs" }]);
    expect(gitIn(lib, "log", "--format=%s", `runyard/${id}`).split("\n")).toEqual(["[[first]] Change all", "First"]);
  });

  test.runIf(full)("where the first one cannot be given its branch, the others have theirs all the same", async () => {
    let go = (): void => {};
    const client = await line.serve({
      first: [
        { write: ["app.txt", "changed\n"] },
        { write: ["../repositories/lib/new.txt", "new\n"] },
        { say: "Done.", until: new Promise<void>((resolve) => (go = resolve)) },
      ],
      more: [{ write: ["../repositories/lib/more.txt", "more\n"] }, { say: "More." }],
    });
    const { app, lib } = three("first-gone");
    const { id } = await create({ task: "[[first]] Change all", repositoryUrl: app, repositories: [{ repositoryUrl: lib }] });
    await askedFor(2);
    renameSync(app, `${app}.moved`);
    go();
    const run = await client.runs.waitForEnd(id);
    expect(run).toMatchObject({
      status: "completed",
      error: null,
      result: {
        headBranch: null,
        filesChanged: 1,
        branchProblem: {
          code: "not-found",
          message: expect.stringContaining(`There is no folder ${app} on the server's machine`) as string,
        },
        repositories: [{ name: "lib", headBranch: `runyard/${id}`, problem: null }],
      },
    });
    const made = gitIn(lib, "rev-parse", `runyard/${id}`);
    // And the turn behind it goes on from there.
    renameSync(`${app}.moved`, app);
    await client.runs.continue(id, "[[more]] More");
    const second = await client.runs.waitForEnd(id);
    expect(second.result).toMatchObject({ headBranch: `runyard/${id}`, repositories: [{ headBranch: `runyard/${id}`, filesChanged: 2 }] });
    expect(gitIn(lib, "rev-parse", `runyard/${id}^`)).toBe(made);
  });

  test.runIf(full)("a replay has them too, and gives nobody a branch; a run that may not publish keeps what it made", async () => {
    const client = await line.serve([
      { write: ["app.txt", "changed\n"] },
      { write: ["../repositories/lib/new.txt", "new\n"] },
      { say: "Done." },
    ]);
    const { app, lib } = three("replay");
    const made = await client.runs.create({
      task: "Change all",
      repositoryUrl: app,
      repositories: [{ repositoryUrl: lib }],
      settings: { sandboxDriver: "bwrap", permissions: ["repository:read"] },
    });
    const run = await client.runs.waitForEnd(made.id);
    const kept = {
      name: "lib",
      headBranch: null,
      headCommit: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
      filesChanged: 1,
      problem: null,
    };
    expect(run.result).toMatchObject({ headBranch: null, repositories: [kept] });
    expect(await client.runs.patch(run.id, { repository: "lib" })).toContain("+++ b/new.txt");
    const replay = await client.runs.waitForEnd((await client.runs.replay(run.id)).id);
    expect(replay).toMatchObject({
      status: "completed",
      error: null,
      repositories: [{ name: "lib" }],
      result: { headBranch: null, repositories: [kept] },
    });
    expect(replay.replay).toMatchObject({ divergence: null, sameResult: true });
    expect(gitIn(lib, "branch", "--list", "runyard/*")).toBe("");
  });

  test.runIf(full)("a secret in one of them keeps all of them back", async () => {
    const value = "sesame-7f3c9d21";
    const client = await line.serve([
      { write: ["app.txt", "changed\n"] },
      { write: ["../repositories/lib/new.txt", `${value}\n`] },
      { say: "Done." },
    ]);
    await client.secrets.set({ name: "TOKEN", value });
    const { app, lib } = three("secret");
    const { id } = await create({
      task: "Leak",
      repositoryUrl: app,
      repositories: [{ repositoryUrl: lib }],
      secrets: ["TOKEN"],
    });
    const run = await client.runs.waitForEnd(id);
    expect(run.error).toMatchObject({
      type: "policy-violation",
      message: expect.stringContaining("The result in the repository lib holds") as string,
    });
    expect(gitIn(app, "branch", "--list", "runyard/*") + gitIn(lib, "branch", "--list", "runyard/*")).toBe("");
  });

  /** What stands in the way of the server while it is killed: the configuration of a repository, which it reads at that moment. */
  const moments = [
    [
      "between two commits",
      (docs: string) =>
        path.join(
          repositoryCachePath(homeAt(line.home.env["RUNYARD_HOME"] ?? "").cacheDir, { root: docs, gitDir: path.join(docs, ".git") }),
          "config",
        ),
    ],
    ["between two branches", (docs: string) => path.join(docs, ".git/config")],
  ] as const;
  test.each(full ? moments : moments.slice(1))(
    "a server that is killed %s: the next one goes on, and commits nothing twice",
    async (_, configOf) => {
      let go = (): void => {};
      const client = await line.serve([
        { write: ["app.txt", "changed\n"] },
        { write: ["../repositories/lib/new.txt", "new\n"] },
        { write: ["../repositories/docs/new.txt", "new\n"] },
        { say: "Done.", until: new Promise<void>((resolve) => (go = resolve)) },
      ]);
      const { app, lib, docs } = three(`killed-${moments.findIndex(([, one]) => one === configOf)}`);
      const { id } = await create({
        task: "Change all",
        repositoryUrl: app,
        repositories: [{ repositoryUrl: lib }, { repositoryUrl: docs }],
      });
      await askedFor(3);
      // Whoever reads this configuration waits until somebody writes it.
      const config = configOf(docs);
      renameSync(config, `${config}.kept`);
      execFileSync("mkfifo", [config]);
      go();
      const { results } = attemptDirs(homeAt(line.home.env["RUNYARD_HOME"] ?? ""), { id, attempt: 1 });
      const committed = (): string => readFileSync(path.join(results, "repositories/docs/commit/result.json"), "utf8");
      const branch = `runyard/${id}`;
      const headOf = (repository: string): string => gitIn(repository, "rev-parse", "--verify", "--quiet", branch);
      const isThere = (): string | null => attempt(() => (config.startsWith(docs) ? headOf(lib) : committed()));
      await expect.poll(isThere, { timeout: 30_000 }).not.toBeNull();
      const before = JSON.parse(committed()) as { head: string };
      expect((await client.runs.get(id)).status).toBe("running");
      await line.server.kill();
      expect(attempt(() => gitIn(app, "rev-parse", "--verify", "--quiet", branch)) !== null).toBe(config.startsWith(docs));
      renameSync(config, `${config}.fifo`);
      renameSync(`${config}.kept`, config);
      const release = openSync(`${config}.fifo`, constants.O_RDWR | constants.O_NONBLOCK);
      writeSync(release, "\n");
      closeSync(release);
      await line.restart();
      const run = await line.client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", attempt: 1, error: null });
      expect(run.result?.repositories).toMatchObject([{ headBranch: branch }, { headCommit: before.head, headBranch: branch }]);
      expect(headOf(docs)).toBe(before.head);
      for (const repository of [app, lib, docs])
        expect(gitIn(repository, "log", "--format=%s", branch).split("\n")).toEqual(["Change all", "First"]);
      const log = await readLog(line.client, id);
      expect(log.filter((event) => event.type === "run.completed")).toHaveLength(1);
      expect(log.map((event) => event.seq)).toEqual(log.map((__, index) => index + 1));
    },
  );

  test("are refused where they cannot be in one run, in words that say what to do", async () => {
    const { app, lib } = three("refused");
    const refused = (...repositories: FurtherRepositoryRequest[]): Promise<string> =>
      refusal(line.client.runs.create({ task: "x", repositoryUrl: app, repositories, settings: { sandboxDriver: "bwrap" } }));
    const [worktree, empty, plain] = ["worktree", "empty", "plain"].map((name) => path.join(line.home.root, "refused", name)) as [
      string,
      string,
      string,
    ];
    gitIn(lib, "worktree", "add", "--quiet", "--detach", worktree);
    mkdirSync(path.join(lib, "src"));
    execFileSync("git", ["init", "--quiet", empty]);
    mkdirSync(plain);
    const same = (index: number, other: string): string =>
      `invalid_request: repositories[${index}].repositoryUrl: is the same repository as ${other}: a run has each repository once`;
    const [of, again] = [{ repositoryUrl: lib }, { repositoryUrl: app }];
    const cases: readonly (readonly [readonly FurtherRepositoryRequest[], string])[] = [
      [Array.from({ length: 9 }, () => of), "invalid_request: repositories: must be at most 8"],
      [[again], same(0, app)],
      [[{ repositoryUrl: path.join(app, ".git") }], same(0, app)],
      [[of, { repositoryUrl: path.join(lib, "src"), name: "other" }], same(1, lib)],
      [[of, { repositoryUrl: worktree }], same(1, lib)],
      [
        [{ ...of, name: "../lib" }],
        "invalid_request: repositories[0].name: must be 1 to 64 letters, digits, dots, dashes and underscores, and begin with a letter or a digit",
      ],
      [[{ ...of, branch: "nope" }], `repository_not_usable: There is no branch nope in ${lib}; there is main`],
      [[{ repositoryUrl: `${lib}-gone` }], `repository_not_usable: There is no folder ${lib}-gone on the server's machine`],
      [[{ repositoryUrl: empty }], `repository_not_usable: ${empty} has no commit yet: commit something first, a run starts from a commit`],
      [
        [{ repositoryUrl: plain }],
        `repository_not_usable: ${plain} is not in a git repository: run "git init" there, and commit something`,
      ],
    ];
    for (const [repositories, message] of cases) expect(await refused(...repositories)).toBe(message);
    expect(
      await refusal(
        line.client.runs.create({
          task: "x",
          repositoryUrl: app,
          repositories: [{ ...of, access: "read" }],
          settings: { sandboxDriver: "process" },
        }),
      ),
    ).toBe(
      "sandbox_not_available: Without isolation nothing keeps an agent from writing: a repository that it may only read (lib) needs the sandbox driver bwrap or docker.",
    );
  });

  test.runIf(full)("on the command line they are given, shown, looked at and taken; one may lie inside of the first", async () => {
    await line.serve([
      { write: ["../repositories/core/new.txt", "new\n"] },
      { write: ["../repositories/vendored/new.txt", "new\n"] },
      { say: "Done." },
    ]);
    const { app, lib, docs } = three("cli");
    const vendored = makeRepository(app, { "v.txt": "v\n" }, "vendored");
    const { cli } = line.home;
    const ran = await cli(
      [
        "run",
        "Change it",
        "--sandbox",
        "bwrap",
        "--add-repo",
        "core=../lib#main",
        "--add-repo",
        "./vendored",
        "--read-repo",
        "../docs",
        "--json",
      ],
      { cwd: app },
    );
    const run = JSON.parse(ran.stdout) as Run;
    expect(run).toMatchObject({
      status: "completed",
      result: { headBranch: null },
      repositories: [
        { name: "core", repositoryUrl: lib, branch: "main", access: "write" },
        { name: "vendored", repositoryUrl: vendored, access: "write" },
        { name: "docs", repositoryUrl: docs, access: "read" },
      ],
    });
    const shown = (await cli(["show", run.id])).stdout;
    expect(shown).toContain(`beside  core: ${lib} · main at `);
    expect(shown).toContain(`beside  docs: ${docs} · main at `);
    expect(shown).toContain(", only to be read");
    expect(shown).toContain(`beside  core: runyard/${run.id}, 1 file changed, +1 −0`);
    expect((await cli(["diff", run.id, "--repository", "core"])).stdout).toContain("+++ b/new.txt");
    expect(JSON.parse((await cli(["files", run.id, "--repository", "core", "--json"])).stdout)).toMatchObject({
      data: [{ path: "new.txt" }],
    });
    expect((await cli(["files", run.id, "lib.txt", "--repository", "core"])).stdout).toBe("lib\n");
    expect(await cli(["diff", run.id, "--repository", "nope"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(`Run ${run.id} has no further repository nope. It has: core, vendored, docs.`) as string,
    });
    expect((await cli(["files", run.id, "--repository", "core", "--workspace"])).code).toBe(2);
    expect(JSON.parse((await cli(["pull", run.id, "--merge", "--json"], { cwd: lib })).stdout)).toMatchObject({
      how: "fast-forward",
      files: 1,
      repository: lib,
    });
    // A clone is known by the commit that the run started from, and gets what it lacks from the server.
    const clone = path.join(line.home.root, "core-clone");
    execFileSync("git", ["clone", "--quiet", "--single-branch", lib, clone]);
    gitIn(clone, "reset", "--quiet", "--hard", run.repositories[0]?.baseCommit ?? "");
    gitIn(clone, "reflog", "expire", "--expire=all", "--all");
    gitIn(clone, "update-ref", "-d", "refs/remotes/origin/main");
    gitIn(clone, "prune");
    gitIn(clone, "repack", "-adq");
    expect(JSON.parse((await cli(["pull", run.id, "--json"], { cwd: clone })).stdout)).toMatchObject({ how: "made", repository: clone });
    expect(gitIn(clone, "rev-parse", `runyard/${run.id}`)).toBe(run.result?.repositories?.[0]?.headCommit);
    expect(await cli(["pull", run.id], { cwd: docs })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("left no branch in docs: it changed nothing there.") as string,
    });
  });
});

function attempt(read: () => string): string | null {
  try {
    return read();
  } catch {
    return null;
  }
}

async function refusal(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.catch((reason: unknown) => reason);
  return error instanceof RunyardApiError ? `${error.code}: ${error.message}` : String(error);
}
