// How results leave: who their commits are by, and what waits for a person because it touches protected files.
import path from "node:path";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import pg from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { homeAt } from "../src/home.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const hasKeygen = spawnSync("ssh-keygen", ["-?"]).error === undefined;
const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const WORKFLOW = ".github/workflows/ci.yml";
const TITLE = `It touches a protected file: ${WORKFLOW}`;

describe.skipIf(unavailable !== null)(unavailable === null ? "publishing" : `publishing cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;
  afterEach(async () => {
    await line.client.organization.update({ protectedPaths: null, commitAuthor: null, coAuthor: false, signingKey: null });
  });

  async function create(input: Partial<CreateRunRequest> = {}): Promise<{ id: string; repository: string }> {
    const repository = makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "ignored\n" }, `publishing-${(serial += 1)}`);
    const settings = { sandboxDriver: "bwrap", ...input.settings } as const;
    const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, ...input, settings });
    return { id, repository };
  }

  /** The run once its result waits, or it has ended. */
  async function held(id: string): Promise<Run> {
    for await (const event of line.client.runs.events(id)) if (event.type === "result.held") break;
    return line.client.runs.get(id);
  }

  const typesOf = (log: readonly RunEvent[]): string[] =>
    log.map(({ type }) => type).filter((type) => /^(result|approval|run)\./.test(type));
  const branches = (repository: string): string => gitIn(repository, "branch", "--list", "runyard/*");

  test("a result with a workflow waits in nobody's hands, through kill -9 (in the full tests), and then becomes the branch as it is", async () => {
    await line.serve([
      { run: "echo kept >ignored" },
      { write: [WORKFLOW, "on: push\n"] },
      { say: "Done." },
      { run: "cat ignored >seen.txt" },
      { say: "Done again." },
    ]);
    const { id, repository } = await create();
    const waiting = await held(id);
    const files = [{ path: WORKFLOW, pattern: ".github/workflows/**", policy: "approve" }];
    expect(waiting).toMatchObject({
      status: "awaiting_input",
      phase: "publishing",
      waitingFor: [{ kind: "approval", title: TITLE, files }],
      result: { headBranch: null, filesChanged: 1 },
    });
    expect((await line.client.status()).runs).toMatchObject({ running: 0, queued: 0 });
    expect(branches(repository)).toBe("");
    expect(await line.client.runs.patch(id)).toContain("+on: push");
    const shown = (await line.home.cli(["show", id])).stdout;
    expect(shown).toContain(`? approval: ${TITLE}`);
    expect(shown).toContain(`runyard approve ${id}   (or: runyard reject ${id})`);
    expect(await line.home.cli(["answer", id, "allow"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("is done: it waits for an approval"),
    });

    if (full) await line.restart();
    expect(await line.client.runs.get(id)).toMatchObject({ status: "awaiting_input", waitingFor: waiting.waitingFor });
    expect(await line.home.cli(["approve", id])).toMatchObject({ code: 0, stderr: expect.stringContaining(`Approved ${id}.`) });
    if (full) await line.restart();
    const done = await line.client.runs.waitForEnd(id);
    expect(done).toMatchObject({ status: "completed", turn: 1, result: { summary: "Done.", approvedBy: { userName: "admin" } } });
    expect(done.result?.headCommit).toBe(waiting.result?.headCommit);
    expect(gitIn(repository, "rev-parse", `runyard/${id}`)).toBe(done.result?.headCommit);
    const log = await readLog(line.client, id);
    expect(log.find(({ type }) => type === "result.held")?.data).toMatchObject({ commit: done.result?.headCommit, files, count: 1 });
    expect(log.find(({ type }) => type === "approval.granted")?.data).toMatchObject({ userId: "user_admin", userName: "admin" });
    expect(typesOf(log).slice(-6)).toEqual([
      "result.held",
      "approval.granted",
      "run.phase",
      "run.phase",
      "result.regular",
      "run.completed",
    ]);
    // No agent began for it, and the same decision again changes nothing.
    expect(log.filter(({ type }) => type === "agent.started")).toHaveLength(1);
    expect((await line.client.runs.approve(id)).status).toBe("completed");
    await expect(line.client.runs.reject(id)).rejects.toMatchObject({ code: "approval_not_open" });

    if (!full) return;
    // A later turn, in the same workspace, is asked about for what it brings itself.
    await line.client.runs.continue(id, "Go on");
    const later = await line.client.runs.waitForEnd(id);
    expect(later).toMatchObject({ status: "completed", turn: 2, result: { headBranch: `runyard/${id}`, filesChanged: 2 } });
    expect(later.result).not.toHaveProperty("approvedBy");
    expect(gitIn(repository, "show", `runyard/${id}:seen.txt`)).toBe("kept");
  }, 120_000);

  test("a runner from which the run is taken between its commit and the push gives its branch to nobody", async () => {
    const { id, repository } = await createAndStop(async (database, run) => {
      await database.query("update runyard.runs set owner = 'somebody', runner_id = 'elsewhere' where id = $1", [run]);
    });
    await expect.poll(serverLog).toContain("A run was taken from this runner; its processes are ended");
    // Nobody else would ever end it.
    await inDatabase(async (database) => {
      await database.query("update runyard.runs set owner = null, status = 'cancelled', finished_at = now() where id = $1", [id]);
      await database.query("update runyard.org_slots set active = active - 1");
    });
    expect(branches(repository)).toBe("");
    // The control: stopped at the same place, and left to its runner.
    const control = await createAndStop(() => Promise.resolve());
    expect(await line.client.runs.waitForEnd(control.id)).toMatchObject({ status: "completed" });
    expect(branches(control.repository)).toContain(control.id);
  }, 120_000);

  async function inDatabase<T>(work: (database: pg.Client) => Promise<T>): Promise<T> {
    const database = new pg.Client({ connectionString: line.home.env["DATABASE_URL"] });
    await database.connect();
    try {
      return await work(database);
    } finally {
      await database.end();
    }
  }

  /** A run whose runner has made its commit and waits for what the settings say of files, while something is done. */
  async function createAndStop(
    meanwhile: (database: pg.Client, runId: string) => Promise<void>,
  ): Promise<{ id: string; repository: string }> {
    await line.serve([{ write: ["a.txt", "a\n"] }, { say: "Done." }]);
    const created = await create();
    await inDatabase(async (database) => {
      await database.query("begin");
      await database.query("lock table runyard.repositories in access exclusive mode");
      const waiting = "select count(*)::int as n from pg_locks where not granted and relation = 'runyard.repositories'::regclass";
      await expect.poll(async () => (await database.query<{ n: number }>(waiting)).rows[0]?.n).toBeGreaterThan(0);
      const { rows } = await database.query<{ phase: string; made: string }>(
        "select phase, state -> 'made' ->> 'head' as made from runyard.runs where id = $1",
        [created.id],
      );
      expect(rows).toEqual([{ phase: "publishing", made: expect.stringMatching(/^[0-9a-f]{40}$/) as string }]);
      await meanwhile(database, created.id);
      await database.query("commit");
    });
    return created;
  }

  const serverLog = (): string => {
    const { logsDir } = homeAt(path.join(line.home.root, "home"));
    return readdirSync(logsDir)
      .map((name) => readFileSync(path.join(logsDir, name), "utf8"))
      .join("");
  };

  test("one that is rejected is not published, and its change is kept; what may not be touched is not even asked about", async () => {
    await line.serve([{ write: ["CODEOWNERS", "* @x\n"] }, { say: "Done." }]);
    const { id, repository } = await create();
    await held(id);
    const rejected = await line.home.cli(["reject", id, "--reason", "Not the owners"]);
    expect(rejected).toMatchObject({ code: 0, stderr: `Rejected ${id}. The run is failed.\n` });
    const run = await line.client.runs.get(id);
    expect(run).toMatchObject({ status: "failed", error: { type: "policy-violation" }, result: { headBranch: null }, waitingFor: [] });
    expect(run.error?.message).toContain("(Not the owners)");
    expect(typesOf(await readLog(line.client, id)).slice(-2)).toEqual(["approval.rejected", "run.failed"]);
    expect(await line.client.runs.patch(id)).toContain("+* @x");
    expect(branches(repository)).toBe("");
    expect(await line.home.cli(["pull", id], { cwd: repository })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("it was not published"),
    });
    await expect(line.client.runs.approve(id)).rejects.toMatchObject({ code: "approval_not_open" });

    const { code } = await line.home.cli(["organization", "--protect", "refuse:secrets/**"]);
    expect(code).toBe(0);
    await line.serve([
      { run: "mkdir secrets && echo x >secrets/a && git add -A && git commit -qm in && git rm -q secrets/a" },
      { write: ["b.txt", "b\n"] },
      { say: "Done." },
    ]);
    const refused = await create();
    const ended = await line.client.runs.waitForEnd(refused.id);
    expect(ended).toMatchObject({ status: "failed", error: { type: "policy-violation" }, result: { headBranch: null } });
    expect(ended.error?.message).toContain("It touches a protected file: secrets/a.");
    expect(branches(refused.repository)).toBe("");
  }, 120_000);

  test.skipIf(!full)(
    "commits are by whom the settings name, those of the agent too, with who asked as a co-author (in the full tests)",
    async () => {
      const set = await line.home.cli(["organization", "--commit-author", "Acme Bot <bot@acme.example>", "--co-author"]);
      expect(set).toMatchObject({ code: 0, stdout: expect.stringContaining("Acme Bot <bot@acme.example>, with who asked as a co-author") });
      await line.serve([
        { run: "echo a >a.txt && git add a.txt && git commit -qm 'Of the agent'" },
        { write: ["b.txt", "b\n"] },
        { say: "Done." },
      ]);
      const { id, repository } = await create();
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", error: null });
      expect(gitIn(repository, "log", "--format=%an <%ae> %cn <%ce> %s", `main..runyard/${id}`).split("\n")).toEqual([
        "Acme Bot <bot@acme.example> Acme Bot <bot@acme.example> Do it",
        "Acme Bot <bot@acme.example> Acme Bot <bot@acme.example> Of the agent",
      ]);
      expect(gitIn(repository, "log", "-1", "--format=%(trailers)", `runyard/${id}`)).toBe(
        `Runyard-Run: ${id}\nCo-authored-by: admin <user_admin@runyard.invalid>`,
      );
      // A repository comes before its organization, for runs that are created from then on.
      const { stdout } = await line.home.cli([
        "repositories",
        repository,
        "--commit-author",
        "Site <site@acme.example>",
        "--no-co-author",
        "--json",
      ]);
      expect(JSON.parse(stdout)).toMatchObject({ commitAuthor: { name: "Site", email: "site@acme.example" }, coAuthor: false });
      await line.serve([{ write: ["c.txt", "c\n"] }, { say: "Done." }]);
      const second = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, settings: { sandboxDriver: "bwrap" } });
      await line.client.runs.waitForEnd(second.id);
      expect(gitIn(repository, "log", "-1", "--format=%an <%ae>%n%(trailers)", `runyard/${second.id}`)).toBe(
        `Site <site@acme.example>\nRunyard-Run: ${second.id}`,
      );
    },
    60_000,
  );

  test.skipIf(!full || !hasKeygen)(
    "commits are signed on the host by the key of the organization, which is nowhere else, through kill -9 (in the full tests)",
    async () => {
      const file = path.join(line.home.root, "signing-key");
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-C", "", "-f", file, "-N", ""]);
      const key = readFileSync(file, "utf8");
      const set = await line.home.cli(["organization", "--signing-key", "-", "--protect", "held.txt"], { input: key });
      const publicKey = readFileSync(`${file}.pub`, "utf8").trim();
      expect(set).toMatchObject({ code: 0, stdout: expect.stringContaining(publicKey) });
      rmSync(file);
      await line.serve([
        { run: "git commit -q --allow-empty -m 'Of the agent' && env && cat /proc/*/environ /proc/*/cmdline; echo x >held.txt" },
        { say: "Done." },
        { write: ["b.txt", "b\n"] },
        { say: "Done again." },
      ]);
      const { id, repository } = await create();
      await held(id);
      await line.restart();
      await line.client.runs.approve(id);
      await line.client.runs.waitForEnd(id);
      await line.client.runs.continue(id, "Go on");
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", result: { headBranch: `runyard/${id}` } });
      const signers = path.join(line.home.root, "signers");
      writeFileSync(signers, `bot@x ${publicKey}\n`);
      const commits = gitIn(repository, "rev-list", `main..runyard/${id}`).split("\n");
      expect(commits).toHaveLength(3);
      for (const commit of commits) gitIn(repository, "-c", `gpg.ssh.allowedSignersFile=${signers}`, "verify-commit", commit);
      expect(() => gitIn(repository, "-c", `gpg.ssh.allowedSignersFile=${signers}`, "verify-commit", "main")).toThrow();
      const secret = key.split("\n")[2] ?? "";
      expect(secret.length).toBeGreaterThan(50);
      expect(spawnSync("grep", ["-rlF", "-e", secret, line.home.root], { encoding: "utf8" }).stdout).toBe("");
      expect(JSON.stringify([await readLog(line.client, id), line.model.requests])).not.toContain(secret);
    },
    120_000,
  );

  test.skipIf(!full || !hasKeygen)(
    "further repositories wait with the first one and are signed as it is, and nobody is asked about what is protected there (in the full tests)",
    async () => {
      const file = path.join(line.home.root, "further-key");
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-C", "", "-f", file, "-N", ""]);
      await line.client.organization.update({ signingKey: readFileSync(file, "utf8") });
      const [lib, docs] = ["further-lib", "further-docs"].map((name) => makeRepository(line.home.root, { "a.txt": "a\n" }, name)) as [
        string,
        string,
      ];
      await line.serve([
        { write: [WORKFLOW, "on: push\n"] },
        { write: ["../repositories/further-lib/CODEOWNERS", "* @x\n"] },
        { write: ["../repositories/further-docs/b.txt", "b\n"] },
        { say: "Done." },
      ]);
      const { id, repository } = await create({ repositories: [{ repositoryUrl: lib }, { repositoryUrl: docs }] });
      const waiting = await held(id);
      expect(waiting).toMatchObject({ status: "awaiting_input", waitingFor: [{ kind: "approval", title: TITLE }] });
      expect(waiting.result?.repositories).toMatchObject([
        { headBranch: null, filesChanged: 1 },
        { headBranch: null, filesChanged: 1 },
      ]);
      for (const one of [repository, lib, docs]) expect(branches(one)).toBe("");
      await line.restart();
      await line.client.runs.approve(id);
      const { status, result } = await line.client.runs.waitForEnd(id);
      expect({ status, headBranch: result?.headBranch }).toEqual({ status: "completed", headBranch: `runyard/${id}` });
      const problem = expect.stringContaining("It touches a protected file: CODEOWNERS. Nobody can approve that") as string;
      expect(result?.repositories).toMatchObject([
        { name: "further-lib", headBranch: null, problem },
        { name: "further-docs", headBranch: `runyard/${id}`, problem: null },
      ]);
      expect(branches(lib)).toBe("");
      expect(await line.client.runs.patch(id, { repository: "further-lib" })).toContain("+* @x");
      const signers = path.join(line.home.root, "further-signers");
      writeFileSync(signers, `bot@x ${readFileSync(`${file}.pub`, "utf8")}`);
      for (const one of [repository, docs]) gitIn(one, "-c", `gpg.ssh.allowedSignersFile=${signers}`, "verify-commit", `runyard/${id}`);
    },
    120_000,
  );

  test.skipIf(!full)(
    "a run that waits can be cancelled, and a changed policy holds at once (in the full tests)",
    async () => {
      await line.serve([{ write: [WORKFLOW, "on: push\n"] }, { say: "Done." }]);
      const first = await create();
      await held(first.id);
      expect(await line.client.runs.cancel(first.id)).toMatchObject({ status: "cancelled", waitingFor: [] });
      await expect(line.client.runs.approve(first.id)).rejects.toMatchObject({ code: "approval_not_open" });
      await line.serve([{ write: [WORKFLOW, "on: push\n"] }, { say: "Done." }]);
      const second = await create();
      await held(second.id);
      await line.client.organization.update({ protectedPaths: [{ pattern: "**/*.yml", policy: "refuse" }] });
      await line.client.runs.approve(second.id);
      expect(await line.client.runs.waitForEnd(second.id)).toMatchObject({ status: "failed", error: { type: "policy-violation" } });
      expect(branches(second.repository)).toBe("");
      await line.client.organization.update({ protectedPaths: [{ pattern: ".github/**", policy: "allow" }] });
      await line.serve([{ write: [WORKFLOW, "on: push\n"] }, { say: "Done." }]);
      const third = await create();
      expect(await line.client.runs.waitForEnd(third.id)).toMatchObject({ status: "completed" });
      expect(existsSync(path.join(third.repository, WORKFLOW))).toBe(false);
    },
    120_000,
  );
});
