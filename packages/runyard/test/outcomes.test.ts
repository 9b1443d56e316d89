// What can become of a result where it is published, at a server that answers as GitHub does and on this machine: each outcome is
// typed, says what to do, and keeps the patch.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { BranchProblemCode, CreateRunRequest, PullRequestProblemCode, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const Z = "\u200b";
/** What acts on a terminal, or turns text around. */
const STEERING = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;
const WRITE: readonly ModelStep[] = [{ write: ["note.txt", "a note\n"] }, { say: "Done." }];
const AGENT_COMMITS = "git -c user.name=A -c user.email=a@x.invalid commit --quiet";

describe.skipIf(unavailable !== null || !full)(
  unavailable === null ? "outcomes of publishing" : `outcomes of publishing cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const { repositoryUrl, token } = lab;
    const bare = path.join(lab.root, "git/acme/app.git");
    const hook = path.join(bare, "hooks/pre-receive");
    const first = gitIn(bare, "rev-parse", "main");
    const line = useLine({ env: lab.env });

    beforeAll(() => line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token }));
    beforeEach(async () => {
      await lab.begin();
      lab.git.ways.login = { username: "x-access-token", password: token };
      rmSync(hook, { force: true });
      gitIn(bare, "update-ref", "refs/heads/main", first);
    });
    afterAll(() => lab.close());

    interface Outcome {
      readonly id: string;
      readonly run: Run;
      /** The codes of what the log noticed. */
      readonly codes: readonly string[];
      readonly patch: string;
      readonly shown: string;
    }

    /** Begins a run, does something while its agent is at work, and looks at what came of it. */
    async function outcome(options: {
      readonly meanwhile?: (id: string) => unknown;
      readonly more?: Partial<CreateRunRequest>;
      readonly steps?: readonly ModelStep[];
    }): Promise<Outcome> {
      let go = (): void => undefined;
      const until = new Promise<void>((resolve) => (go = resolve));
      const [step, ...rest] = options.steps ?? WRITE;
      const client = await line.serve([{ ...step, until }, ...rest]);
      const { id } = await client.runs.create({ task: "Write a note", repositoryUrl, ...options.more });
      await expect.poll(() => line.model.requests.length, { timeout: 30_000 }).toBeGreaterThan(0);
      await options.meanwhile?.(id);
      go();
      return seen(id);
    }

    async function seen(id: string): Promise<Outcome> {
      const run = await line.client.runs.waitForEnd(id);
      const log = await readLog(line.client, id);
      const codes = log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []));
      return { id, run, codes, patch: await line.client.runs.patch(id), shown: (await line.home.cli(["show", id])).stdout };
    }

    /** It completed without a branch, says why and what to do, and the patch is there by every way. */
    async function expectKept({ id, run, codes, patch, shown }: Outcome, code: BranchProblemCode, says: string | RegExp): Promise<void> {
      expect(run).toMatchObject({
        status: "completed",
        error: null,
        result: { headBranch: null, filesChanged: 1, branchProblem: { code } },
      });
      const { message } = run.result!.branchProblem!;
      expect(message).toMatch(says);
      expect(message).toMatch(/The result is kept: `runyard diff` shows it, and `runyard continue` publishes again once that is solved\.$/);
      // Short, and nothing in it that acts on a terminal.
      expect(message.length).toBeLessThan(900);
      expect(message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      expect(codes).toContain("branch-not-pushed");
      expect(shown).toContain(`none: (${code}) ${message.slice(0, 40)}`);
      expect(patch).toContain("+++ b/note.txt");
      expect((await line.home.cli(["diff", id])).stdout).toBe(patch);
      const clone = path.join(line.home.root, `clone-${id}`);
      gitIn(line.home.root, "clone", "--quiet", bare, clone);
      const pulled = await line.home.cli(["pull", id, "--patch", "it.patch", "--json"], { cwd: clone });
      expect(JSON.parse(pulled.stdout)).toMatchObject({ how: "patch", bytes: Buffer.byteLength(patch) });
      gitIn(clone, "apply", "it.patch");
      const refused = await line.home.cli(["pull", id], { cwd: clone });
      expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining(code) as string });
    }

    /** It has its branch and no pull request, and says why and what to do. */
    function expectBranch({ run, codes, patch, shown, id }: Outcome, code: PullRequestProblemCode, says: string): void {
      const branch = `runyard/${id}`;
      expect(run).toMatchObject({
        status: "completed",
        error: null,
        result: {
          headBranch: branch,
          pullRequestUrl: null,
          pullRequestProblem: { code, message: expect.stringContaining(says) as string },
        },
      });
      expect(lab.commitOf(branch)).toBe(run.result?.headCommit);
      expect(codes).toContain("pull-request-not-opened");
      expect(shown).toContain(`none (${code})`);
      expect(patch).toContain("+++ b/note.txt");
    }

    /** Somebody else's commit on top of a branch, as a branch. */
    function commitOn(branch: string): string {
      const commit = gitIn(bare, "commit-tree", `${first}^{tree}`, "-p", first, "-m", "Somebody else's");
      gitIn(bare, "update-ref", `refs/heads/${branch}`, commit);
      return commit;
    }
    function onPush(script: string): void {
      mkdirSync(path.dirname(hook), { recursive: true });
      writeFileSync(hook, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    }
    const more = { publish: "branch" } as const;

    describe("branches", () => {
      test("a base branch that moved takes nothing from the run, and stays where it was moved to", async () => {
        let moved = "";
        const { run, id } = await outcome({ meanwhile: () => (moved = commitOn("main")) });
        expect(run).toMatchObject({ status: "completed", responseType: "pr", result: { headBranch: `runyard/${id}`, baseCommit: first } });
        expect([lab.commitOf("main"), lab.subjects(`runyard/${id}`)]).toEqual([moved, ["Write a note", "First"]]);
      }, 60_000);

      test("a base branch that was deleted leaves the branch and no pull request", async () => {
        const answer = { status: 422, message: "Validation Failed", errors: [{ resource: "PullRequest", field: "base", code: "invalid" }] };
        const done = await outcome({
          meanwhile: () => {
            gitIn(bare, "update-ref", "-d", "refs/heads/main");
            lab.github.fail({ on: "POST /pulls", answer });
          },
        });
        expectBranch(done, "base-gone", "make it again and continue the run, or open the pull request to another one by hand");
      }, 60_000);

      test("a branch that is somebody else's already is left alone, and the next turn has one of its own", async () => {
        let theirs = "";
        const done = await outcome({
          steps: [...WRITE, { write: ["more.txt", "x\n"] }, { say: "More." }],
          meanwhile: (id) => (theirs = commitOn(`runyard/${id}`)),
        });
        await expectKept(done, "branch-in-the-way", `it points to ${theirs.slice(0, 10)}; rename or remove it`);
        expect(lab.commitOf(`runyard/${done.id}`)).toBe(theirs);
        await line.client.runs.continue(done.id, "More");
        const next = await seen(done.id);
        expect(next).toMatchObject({ run: { result: { headBranch: `runyard/${done.id}-2`, filesChanged: 2 } } });
        expect(next.codes).toContain("branch-in-the-way");
        expect(lab.commitOf(`runyard/${done.id}`)).toBe(theirs);
      }, 90_000);

      test("a branch that was deleted between two turns is made again with all of it", async () => {
        const { id } = await outcome({ steps: [...WRITE, { write: ["more.txt", "x\n"] }, { say: "More." }] });
        gitIn(bare, "update-ref", "-d", `refs/heads/runyard/${id}`);
        lab.github.pulls[0]!.state = "closed";
        await line.client.runs.continue(id, "More");
        const { run } = await seen(id);
        expect(run).toMatchObject({
          result: { headBranch: `runyard/${id}`, filesChanged: 2 },
          githubPullRequests: [{ number: 1 }, { number: 2 }],
        });
        expect(lab.subjects(`runyard/${id}`)).toEqual(["More", "Write a note", "First"]);
      }, 90_000);
    });

    describe("repositories", () => {
      test("one that was renamed is pushed to where its host sends, which is said; its pull request is not sent there", async () => {
        const renamed = path.join(lab.root, "git/acme/new.git");
        const done = await outcome({
          meanwhile: () => {
            renameSync(bare, renamed);
            lab.git.ways.answer = (request, response) => {
              const url = request.url ?? "";
              const to = url.startsWith("/acme/app.git/")
                ? url.replace("/app.git/", "/new.git/")
                : `${lab.git.url}/api/v3/repositories/1/pulls`;
              if (!url.startsWith("/acme/app.git/") && !url.startsWith("/api/v3/repos/acme/app/"))
                return lab.github.answer(request, response);
              response
                .writeHead(301, { location: to, "content-type": "application/json" })
                .end(JSON.stringify({ message: "Moved Permanently" }));
              return true;
            };
          },
        });
        renameSync(renamed, bare);
        expectBranch(done, "moved", "open the pull request by hand, and give new runs its present URL");
        expect(done.codes).toContain("repository-moved");
      }, 60_000);

      test("one that is sent to another host is not followed there", async () => {
        const done = await outcome({
          meanwhile: () => {
            lab.git.ways.answer = (request, response) => {
              if (!(request.url ?? "").includes("/info/refs")) return lab.github.answer(request, response);
              response.writeHead(301, { location: "http://elsewhere.example/acme/app.git/info/refs?service=git-upload-pack" }).end();
              return true;
            };
          },
        });
        lab.git.ways.answer = null;
        await expectKept(done, "moved", "give the URL where it is now");
      }, 60_000);

      test("one that was deleted", async () => {
        const done = await outcome({ meanwhile: () => renameSync(bare, `${bare}.gone`) });
        renameSync(`${bare}.gone`, bare);
        await expectKept(done, "not-found", "see that it is there, or store another credential with `runyard credentials add`");
      }, 60_000);

      test("one that was archived, as git and the API say it", async () => {
        const done = await outcome({
          meanwhile: () => {
            lab.git.ways.answer = (request, response) => {
              if (!(request.url ?? "").includes("git-receive-pack")) return lab.github.answer(request, response);
              response.writeHead(403, { "content-type": "text/plain" }).end("This repository was archived so it is read-only.\n");
              return true;
            };
          },
        });
        lab.git.ways.answer = lab.github.answer;
        await expectKept(done, "archived", "take it out of the archive");
        const answer = { status: 403, message: "Repository was archived so is read-only." };
        const api = await outcome({ meanwhile: () => lab.github.fail({ on: "POST /pulls", answer }) });
        expectBranch(api, "archived", "Repository was archived so is read-only. Take the repository out of the archive");
      }, 90_000);

      test("a token that was revoked behind the fetch, at the push and at the API; the next turn publishes with a new one", async () => {
        const done = await outcome({
          steps: [...WRITE, { say: "Nothing." }],
          meanwhile: () => (lab.git.ways.login = { username: "x-access-token", password: "another one" }),
        });
        await expectKept(done, "not-authenticated", "store a valid one with `runyard credentials add`");
        lab.git.ways.login = { username: "x-access-token", password: token };
        await line.client.runs.continue(done.id, "Again");
        expect((await seen(done.id)).run).toMatchObject({ responseType: "pr", result: { headBranch: `runyard/${done.id}` } });
        const api = await outcome({
          meanwhile: () => lab.github.fail({ on: "GET /pulls", answer: { status: 401, message: "Bad credentials" } }),
        });
        expectBranch(api, "not-authenticated", "another credential: `runyard credentials add`");
      }, 120_000);

      test("a token that may read and not write", async () => {
        const done = await outcome({
          meanwhile: () => {
            lab.git.ways.answer = (request, response) => {
              if (!(request.url ?? "").includes("git-receive-pack")) return lab.github.answer(request, response);
              response.writeHead(403, { "content-type": "text/plain" }).end("Write access to repository not granted.\n");
              return true;
            };
          },
        });
        await expectKept(done, "not-allowed", "give it the right to, or store another one");
      }, 60_000);
    });

    describe("pushes that are refused", () => {
      test("by a branch that is protected, in GitHub's words", async () => {
        onPush(
          "echo 'error: GH006: Protected branch update failed for refs/heads/runyard/x.' >&2; echo 'error: Changes must be made through a pull request.' >&2; exit 1",
        );
        const says =
          "its server declined the branch (GH006: Protected branch update failed for refs/heads/runyard/x. Changes must be made through a pull request.)";
        await expectKept(await outcome({}), "declined", says.slice(0, 40));
        expect((await outcome({})).run.result?.branchProblem?.message).toContain(says);
      }, 90_000);

      test("by a hook without a word", async () => {
        onPush("exit 1");
        const done = await outcome({});
        await expectKept(done, "declined", /its server declined the branch \(\[remote rejected\] \(pre-receive hook declined\)\)/);
      }, 60_000);

      test("by a hook with words of others, signs that act, and a megabyte of them", async () => {
        onPush(
          [
            String.raw`printf '\033]0;owned\007\033[31mnon-fast-forward (fetch first) returned error: 401 Repository not found \342\200\256evil @octocat\n' >&2`,
            String.raw`i=0; while [ $i -lt 80000 ]; do i=$((i+1)); printf 'Permission to '; done >&2; echo >&2`,
            "exit 1",
          ].join("\n"),
        );
        await expectKept(await outcome({}), "declined", /its server declined the branch \(\?\]0;owned/);
      }, 90_000);
    });

    describe("nothing to publish", () => {
      test("an agent that changed nothing, and one that took its changes back, leave no branch and say so", async () => {
        const none = await outcome({ steps: [{ say: "Nothing to do." }] });
        const back = await outcome({
          steps: [
            { write: ["note.txt", "x\n"] },
            { run: `git add --all && ${AGENT_COMMITS} --message One && git rm --quiet note.txt && ${AGENT_COMMITS} --message Two` },
            { say: "Taken back." },
          ],
        });
        for (const { run, shown, patch, id } of [none, back]) {
          expect(run).toMatchObject({ status: "completed", result: { headBranch: null, headCommit: null, filesChanged: 0 } });
          expect(run.result).not.toHaveProperty("branchProblem");
          expect(shown).toContain("none: the agent changed no file");
          expect(patch).toBe("");
          expect((await line.home.cli(["diff", id])).stderr).toContain("This run changed nothing");
          expect(lab.branches()).not.toContain(`runyard/${id}`);
        }
        expect(back.codes).toContain("commits-without-effect");
        expect(lab.github.pulls).toEqual([]);
      }, 90_000);
    });

    test("what could not be published is shown and taken while a later turn works, and where that fails", async () => {
      onPush("exit 1");
      const done = await outcome({ steps: [...WRITE, { fail: 400 }] });
      await line.client.runs.continue(done.id, "More");
      const failed = await seen(done.id);
      expect(failed.run).toMatchObject({ status: "failed", result: null });
      expect(failed.patch).toBe(done.patch);
      const clone = path.join(line.home.root, "clone-failed");
      gitIn(line.home.root, "clone", "--quiet", bare, clone);
      const pulled = await line.home.cli(["pull", done.id, "--apply", "--json"], { cwd: clone });
      expect(JSON.parse(pulled.stdout)).toMatchObject({ how: "changes", commit: done.run.result?.headCommit });
      expect(gitIn(clone, "diff", "--cached", "--name-only")).toBe("note.txt");
    }, 90_000);

    describe("on this machine", () => {
      let serial = 0;
      const local = (): string => makeRepository(line.home.root, { "README.md": "# x\n" }, `local-${(serial += 1)}`);

      test("a branch that is there already, a folder that is gone, and one that nobody may write", async () => {
        const taken = local();
        const one = await outcome({ more: { ...more, repositoryUrl: taken }, meanwhile: (id) => gitIn(taken, "branch", `runyard/${id}`) });
        await expectKept(one, "branch-in-the-way", "there is such a branch already");
        expect(gitIn(taken, "rev-parse", `runyard/${one.id}`)).toBe(gitIn(taken, "rev-parse", "main"));

        const gone = local();
        const two = await outcome({
          more: { ...more, repositoryUrl: gone },
          steps: [...WRITE, { say: "Nothing." }],
          meanwhile: () => renameSync(gone, `${gone}.moved`),
        });
        await expectKept(two, "not-found", `There is no folder ${gone} on the server's machine`);
        renameSync(`${gone}.moved`, gone);
        await line.client.runs.continue(two.id, "Again");
        expect((await seen(two.id)).run.result).toMatchObject({ headBranch: `runyard/${two.id}`, headCommit: two.run.result?.headCommit });

        const blocked = local();
        const three = await outcome({ more: { ...more, repositoryUrl: blocked }, meanwhile: () => gitIn(blocked, "branch", "runyard") });
        await expectKept(three, "failed", "'refs/heads/runyard' exists");
      }, 180_000);

      test("a base branch that moved or was deleted takes nothing from the run", async () => {
        const repository = local();
        const main = gitIn(repository, "rev-parse", "main");
        const { id, run } = await outcome({
          more: { ...more, repositoryUrl: repository },
          meanwhile: () => gitIn(repository, "checkout", "--quiet", "--detach") + gitIn(repository, "branch", "-D", "main"),
        });
        expect(run).toMatchObject({ status: "completed", result: { headBranch: `runyard/${id}` } });
        expect(gitIn(repository, "rev-parse", `runyard/${id}^`)).toBe(main);
      }, 60_000);
    });

    test("hostile words of an agent are text in the pull request, in the messages of commits and on a terminal", async () => {
      const words = [
        "fixes #12 resolves acme/app#7 Closes GH-3 https://github.com/acme/app/issues/9",
        "@octocat \uff20octocat [skip ci] <img src=https://tracker.example/x> ![x](https://tracker.example/y)",
        "\u001b]0;owned\u0007\u001b[31mred \u202eevil",
        "::set-output name=x::y",
      ].join("\n");
      const message = `${words}\n\nCo-authored-by: Octo Cat <octocat@github.com>\nSigned-off-by: Ann <ann@example.com>\nRunyard-Run: run_other\n`;
      const done = await outcome({
        steps: [
          { write: ["note.txt", "x\n"] },
          { write: ["message", message] },
          {
            run: "mv message /tmp/message; git add --all; git -c user.name=\"$(printf 'A\\033[31m\\342\\200\\256')\" -c user.email=a@x.invalid commit --quiet --file /tmp/message",
          },
          { write: ["last.txt", "x\n"] },
          { say: `${words}\nCo-authored-by: Octo Cat <octocat@github.com>` },
        ],
        more: { task: "Write a note, fixes #12 for @octocat [skip ci]\n\nSigned-off-by: Ann <ann@example.com>" },
      });
      const branch = `runyard/${done.id}`;
      expect(done.run).toMatchObject({ status: "completed", responseType: "pr", result: { headBranch: branch, filesChanged: 2 } });
      const [pull] = lab.github.pulls;
      expect(pull?.title).toBe(`Write a note, fixes #${Z}12 for @${Z}octocat [${Z}skip ci]`);
      const log = gitIn(bare, "log", "--format=%an%n%B", `main..${branch}`);
      const trailers = gitIn(bare, "log", "--format=%(trailers:only,unfold)", `main..${branch}`);
      expect(trailers.split("\n").filter(Boolean)).toEqual([`Runyard-Run: ${done.id}`]);
      for (const text of [pull?.body ?? "", log]) {
        expect(text).toContain("https://github.com/acme/app/issues/");
        expect(text).not.toMatch(/@octo|\uff20octo|#12|#7|GH-3|issues\/9|\[skip ci\]/);
        expect(text).not.toMatch(STEERING);
      }
      expect(pull?.body).not.toMatch(/!\[|<img/);
      for (const command of [["show"], ["logs"], ["events"], ["diff"], ["diff", "--stat"], ["show", "--json"], ["pr"]]) {
        const [name = "", ...flags] = command;
        const { stdout, stderr } = await line.home.cli([name, done.id, ...flags]);
        expect(stdout.length + stderr.length, name).toBeGreaterThan(0);
        expect(stdout + stderr, command.join(" ")).not.toMatch(STEERING);
      }
    }, 90_000);

    test("branches with names that no branch can have are refused before anything is asked or run", async () => {
      const names = [
        "--upload-pack=touch /tmp/owned",
        "-d",
        "--exec=x",
        "refs/heads/../x",
        "../x",
        "@{u}",
        "@",
        "main@{1}",
        "a\u0000b",
        "a\nb",
        "a b",
        "a.lock",
        "a.lock/b",
        "a..b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "x".repeat(300),
        "",
        "main\u202e",
        "\u009b31mmain",
      ];
      const before = lab.git.requests.length;
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "names");
      for (const branch of names)
        for (const url of [repositoryUrl, repository]) {
          const refused: unknown = await line.client.runs
            .create({ task: "x", repositoryUrl: url, branch })
            .catch((error: unknown) => error);
          expect(refused, JSON.stringify(branch)).toMatchObject({
            code: expect.stringMatching(/^(?:invalid_request|repository_not_usable)$/) as string,
          });
          expect((refused as Error).message).not.toMatch(STEERING);
        }
      const asked = lab.git.requests.slice(before).map(({ url }) => url);
      expect(asked.filter((url) => !url.startsWith("/acme/app.git/"))).toEqual([]);
    }, 60_000);
  },
);
