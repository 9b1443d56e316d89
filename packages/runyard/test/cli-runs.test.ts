// The command line against a server: one run after another, looked at, answered, taken and ended as people do it.
import { execFileSync } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseEvent, type Run, type RunDiff } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { screenOf, runAtTerminal } from "../src/cli/testing/terminal.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { publishedProgram } from "../src/testing/published.ts";
import { gitIn, makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";
import { fullTest, isFull } from "../src/testing/full.ts";

const SAMPLE = fileURLToPath(new URL("../assets/demo-repository", import.meta.url));
const TASK = "The test suite fails. Find the bug, fix it, and show that the tests pass.";
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "commands" : `commands cannot be tested: ${unavailable}`, () => {
  let database: TestDatabase;
  let home: TestHome;
  let server: TestServer;
  let repository: string;
  /** A run that has fixed the sample. */
  let done: Run;

  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString });
    server = await home.up("--simulate");
    repository = sample("sample");
    const created = await home.cli(["run", TASK, "--json"], { cwd: repository });
    expect(created.stderr).toBe("");
    expect(created.code).toBe(0);
    done = JSON.parse(created.stdout) as Run;
  }, 120_000);
  afterAll(async () => {
    await home.close();
    await database.drop();
  });

  function sample(name: string): string {
    const folder = path.join(home.root, name);
    mkdirSync(folder, { recursive: true });
    cpSync(SAMPLE, folder, { recursive: true });
    return makeRepository(home.root, {}, name);
  }

  async function ok(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await home.cli(words);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return stdout;
  }

  test("a server that simulates has no models to list, and says so", async () => {
    const { code, stdout, stderr } = await home.cli(["models"]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "", stderr: "This server simulates: every run has its scripted model.\n" });
  });

  test("status says where the server is and how it stands, for people and as one document", async () => {
    const text = await ok("status");
    expect(text).toContain(`running at ${server.url}`);
    for (const word of ["version", "scripted-1, simulated", "bwrap", "builtin", "0 running"]) expect(text).toContain(word);
    expect(JSON.parse(await ok("status", "--json"))).toMatchObject({ url: server.url, simulated: true, sandbox: { available: true } });
  });

  test("every command works from elsewhere with RUNYARD_URL and RUNYARD_TOKEN, and not with another token", async () => {
    const elsewhere = makeTestHome({ RUNYARD_URL: server.url, RUNYARD_TOKEN: server.token });
    expect(await elsewhere.cli(["runs"], { cwd: "/" })).toMatchObject({ code: 0, stdout: expect.stringContaining(done.id) });
    elsewhere.env["RUNYARD_TOKEN"] = "wrong";
    expect(await elsewhere.cli(["runs"])).toMatchObject({ code: 4, stdout: "", stderr: expect.stringContaining("RUNYARD_TOKEN") });
  });

  test("a second server is refused at once, with where the first is", async () => {
    const second = await home.cli(["up", "--json"]);
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain(`already running for ${home.env["RUNYARD_HOME"]} at ${server.url} (pid ${server.pid})`);
    expect(second.stderr).not.toContain("Building");
  });

  test("token and open give what signs one in", async () => {
    const file = (await ok("token")).trim();
    expect(readFileSync(file, "utf8").trim()).toBe(server.token);
    expect((await ok("token", "--show")).trim()).toBe(server.token);
    expect(JSON.parse(await ok("token", "--json"))).toEqual({ tokenFile: file });
    const link = (await ok("open")).trim();
    expect(link).toMatch(new RegExp(`^${server.url}/login\\?`));
    expect((await ok("open", "--no-browser")).trim()).not.toBe(link);
    const followed = await fetch(link, { redirect: "manual" });
    expect(followed.status).toBeLessThan(400);
    expect((await fetch(link.replace(/code=.*/, "code=wrong"), { redirect: "manual" })).status).toBeGreaterThanOrEqual(400);
    expect(server.said()).toContain("/login");
  });

  test("runs lists; the id is whole at every width, and a task is cut to the line", async () => {
    for (const columns of [80, 200]) {
      const { output } = await runAtTerminal(["runs"], { env: home.env, columns });
      const lines = screenOf(output, columns);
      expect(lines[0]).toContain(done.id);
      expect(lines[0]).toContain("completed");
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
      expect(lines[0]?.endsWith("…")).toBe(columns === 80);
    }
    expect((await ok("runs")).trim()).toMatch(new RegExp(`^${done.id} .*${TASK.replaceAll(".", "\\.")}$`));
    expect((JSON.parse(await ok("runs", "--json")) as { data: Run[] }).data.map((run) => run.id)).toEqual([done.id]);
    expect(await home.cli(["runs", "--status", "failed"])).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "No run has the status failed.\n",
    });
  });

  fullTest("a run is named by its id, a beginning, an ending, or last; anything else is refused with what to do", async () => {
    for (const name of [done.id, done.id.slice(0, 20), done.id.slice(4, 18), done.id.slice(-6), done.id.slice(-6).toUpperCase(), "last"])
      expect((JSON.parse(await ok("show", name, "--json")) as Run).id).toBe(done.id);
    expect(await home.cli(["show", done.id.slice(-3)])).toMatchObject({ code: 2, stderr: expect.stringContaining("at least 4") });
    expect(await home.cli(["show", "../x"])).toMatchObject({ code: 2, stderr: expect.stringContaining("is no run") });
    expect(await home.cli(["show", "zzzzzz"])).toMatchObject({ code: 1, stderr: expect.stringContaining("`runyard runs`") });
    const unknown = `run_${"0".repeat(26)}`;
    expect(await home.cli(["show", unknown])).toMatchObject({ code: 3, stderr: expect.stringContaining("`runyard runs`") });
  });

  test("show tells what came of a run, and what to do with it", async () => {
    const text = await ok("show", "last");
    expect(text).toContain(TASK);
    expect(text).toContain(`runyard/${done.id}`);
    expect(text).toContain(`runyard pull ${done.id}`);
    expect(text).toContain("1 file changed, +1 −1");
  });

  test("events and logs read the same log, for people and line by line for programs", async () => {
    const events = (await ok("events", "last", "--ndjson"))
      .trim()
      .split("\n")
      .map((line) => parseEvent(JSON.parse(line)));
    expect(events.map((event) => event?.seq)).toEqual(events.map((_, index) => index + 1));
    const rest = (await ok("events", "last", "--ndjson", "--after", String(events.length - 2))).trim().split("\n");
    expect(rest).toHaveLength(2);
    const shown = await ok("events", "last");
    expect(shown).toContain("✗ execute node --test  exit 1");
    expect(shown).not.toContain("\u001b");

    const logs = await ok("logs", "last");
    expect(logs).toMatch(/^\d\d:\d\d:\d\d user {4}The test suite fails/m);
    expect(logs).toMatch(/… \d+ more lines \(--verbose shows them\)/);
    expect(await ok("logs", "last", "--follow", "--verbose")).not.toContain("more lines");
    const entries = (await ok("logs", "last", "--ndjson"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { source: string });
    expect(new Set(entries.map((entry) => entry.source))).toEqual(new Set(["user", "agent", "tool", "runyard"]));
  });

  test("a reader that leaves early is no error", async () => {
    const line = `set -o pipefail; '${process.execPath}' '${await publishedProgram()}' events last --ndjson | head -n 1`;
    expect(execFileSync("bash", ["-c", line], { env: home.env, encoding: "utf8" })).toMatch(/^\{"seq":1,/);
  });

  test("diff is a patch that git takes when it is piped, and coloured at a terminal", async () => {
    const patch = await ok("diff", "last");
    const other = sample("patched");
    execFileSync("git", ["-C", other, "apply"], { input: patch });
    expect(readFileSync(path.join(other, "src/slug.js"), "utf8")).toBe(gitIn(repository, "show", `runyard/${done.id}:src/slug.js`) + "\n");
    const { output } = await runAtTerminal(["diff", "last"], { env: home.env, columns: 200 });
    expect(output).toContain("\u001b[32m+");
    expect(screenOf(output, 200).join("\n").trim()).toBe(patch.trim());
    const plain = await runAtTerminal(["diff", "last"], { env: { ...home.env, FORCE_COLOR: "0" }, columns: 200 });
    expect(plain.code).toBe(0);
    expect(await ok("diff", "last", "--stat")).toMatch(/^M {2}\+1 −1 {2}\d+ bytes {2}src\/slug\.js\n1 file changed, \+1 −1\n$/);
    expect((JSON.parse(await ok("diff", "last", "--json")) as RunDiff).files.map((file) => file.path)).toEqual(["src/slug.js"]);
  });

  test("files lists what changed, and writes a file byte for byte", async () => {
    expect(await ok("files", "last")).toContain("src/slug.js");
    expect(JSON.parse(await ok("files", "last", "--json"))).toMatchObject({ data: [{ path: "src/slug.js", status: "modified" }] });
    expect(await ok("files", "last", "./src/slug.js")).toBe(`${gitIn(repository, "show", `runyard/${done.id}:src/slug.js`)}\n`);
    expect(await ok("files", "last", "package.json")).toBe(readFileSync(path.join(SAMPLE, "package.json"), "utf8"));
    expect(await home.cli(["files", "last", "nothing.txt"])).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("nothing.txt"),
    });
    expect(await home.cli(["files", "last", "../../etc/passwd"])).toMatchObject({ stdout: "" });
  });

  describe("pull", () => {
    const head = (folder: string): string => gitIn(folder, "rev-parse", "HEAD");

    test("brings the branch, says how to undo it, and that undoes it", async () => {
      const before = head(repository);
      appendFileSync(path.join(repository, "README.md"), "\nmine, not committed\n");
      const pulled = JSON.parse((await home.cli(["pull", "last", "--merge", "--json"], { cwd: path.join(repository, "src") })).stdout) as {
        undo: string;
      };
      expect(pulled).toMatchObject({ how: "fast-forward", files: 1, before });
      expect(head(repository)).toBe(done.result?.headCommit);
      expect(gitIn(repository, "status", "--porcelain")).toBe(" M README.md");
      expect(await home.cli(["pull", "last", "--merge"], { cwd: repository })).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("Nothing to do"),
      });
      execFileSync("sh", ["-c", pulled.undo], { cwd: repository, stdio: "ignore" });
      expect(head(repository)).toBe(before);
      expect(gitIn(repository, "status", "--porcelain")).toBe(" M README.md");
      gitIn(repository, "checkout", "--quiet", "README.md");
    });

    fullTest("with --apply brings changes only", async () => {
      const before = head(repository);
      const { code, stderr } = await home.cli(["pull", "last", "--apply"], { cwd: repository });
      expect(code).toBe(0);
      expect(head(repository)).toBe(before);
      expect(gitIn(repository, "status", "--porcelain")).toBe("M  src/slug.js");
      execFileSync("sh", ["-c", /Undo: (.*)/.exec(stderr)?.[1] ?? "false"], { cwd: repository, stdio: "ignore" });
      expect(gitIn(repository, "status", "--porcelain")).toBe("");
    });

    test.each([
      ["changed", () => appendFileSync(path.join(repository, "src/slug.js"), "// mine\n"), "src/slug.js"],
      [
        "staged",
        () => {
          writeFileSync(path.join(repository, "new.txt"), "x");
          gitIn(repository, "add", "new.txt");
        },
        "new.txt",
      ],
    ])("touches nothing where files are %s", async (_, change, file) => {
      change();
      const before = [head(repository), gitIn(repository, "status", "--porcelain"), gitIn(repository, "diff", "HEAD")];
      const { code, stderr } = await home.cli(["pull", "last", "--merge"], { cwd: repository });
      expect(code).toBe(3);
      expect(stderr).toContain("nothing was touched");
      expect(stderr).toContain(file);
      expect([head(repository), gitIn(repository, "status", "--porcelain"), gitIn(repository, "diff", "HEAD")]).toEqual(before);
      gitIn(repository, "reset", "--quiet", "--hard");
    });

    fullTest("merges where both went on, and leaves a conflict to the person", async () => {
      const before = head(repository);
      gitIn(repository, "commit", "--quiet", "--allow-empty", "--message", "Mine");
      const names = { GIT_AUTHOR_NAME: "T", GIT_AUTHOR_EMAIL: "t@t.invalid", GIT_COMMITTER_NAME: "T", GIT_COMMITTER_EMAIL: "t@t.invalid" };
      Object.assign(home.env, names);
      const merged = await home.cli(["pull", "last", "--merge", "--json"], { cwd: repository });
      expect(JSON.parse(merged.stdout)).toMatchObject({ how: "merge" });
      gitIn(repository, "reset", "--quiet", "--hard", before);
      const file = path.join(repository, "src/slug.js");
      writeFileSync(file, readFileSync(file, "utf8").replace('.replace(" ", "-")', '.replace(" ", "_")'));
      gitIn(repository, "commit", "--quiet", "--all", "--message", "Mine");
      const conflict = await home.cli(["pull", "last", "--merge"], { cwd: repository });
      expect(conflict.code).toBe(1);
      expect(conflict.stderr).toContain("src/slug.js");
      gitIn(repository, "merge", "--abort");
      gitIn(repository, "reset", "--quiet", "--hard", before);
    });

    fullTest("refuses another place than the run's repository, and makes a branch again that is gone", async () => {
      expect(await home.cli(["pull", "last"], { cwd: "/" })).toMatchObject({
        code: 3,
        stderr: expect.stringContaining(`cd ${repository}`),
      });
      const other = makeRepository(home.root, { a: "a" }, "other");
      expect(await home.cli(["pull", "last"], { cwd: other })).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("another repository than"),
      });
      gitIn(repository, "branch", "--quiet", "-m", `runyard/${done.id}`, "moved");
      expect(await home.cli(["pull", "last"], { cwd: repository })).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("Made the branch"),
      });
      expect(gitIn(repository, "rev-parse", `runyard/${done.id}`)).toBe(done.result?.headCommit);
      gitIn(repository, "branch", "--quiet", "-D", "moved");
    });
  });

  describe("at a terminal", () => {
    test.each(isFull ? [80, 200] : [80])(
      "a run of %i columns asks, shows where it stands, and leaves only its log",
      async (columns) => {
        const typing = [
          { at: /allow it\? \[y\/N\] $/, keys: "y\n" },
          { at: /allow it\?[^]*allow it\? \[y\/N\] $/, keys: "y\n" },
        ];
        const { code, output } = await runAtTerminal(["run", TASK, "--ask", "execute"], {
          env: home.env,
          columns,
          cwd: repository,
          typing,
        });
        expect(code).toBe(0);
        // The line at the bottom was there, with phase, time and tokens, and is gone.
        // eslint-disable-next-line no-control-regex
        expect(output.replaceAll(/\u001b\[[\d;]*m/g, "")).toMatch(/building · \d+ s · [\d,]+ tokens/);
        const lines = screenOf(output, columns).map((line) => line.trimEnd());
        expect(lines.filter((line) => /· \d+ s( ·|$)/.test(line))).toEqual([]);
        const { data } = await server.client.runs.list({ limit: 1 });
        expect(lines.join("\n")).toContain(`branch  runyard/${data[0]?.id}`);
        expect(lines.join("\n")).toContain(`runyard pull ${data[0]?.id}`);
        // The agent's words are broken between words, and keep their indent.
        const words = lines.join(" ").replaceAll(/\s+/g, " ");
        expect(words).toContain("A regular expression with the flag `g` takes them all.");
        expect(lines.some((line) => line.startsWith("  `replace` with a text"))).toBe(true);
      },
      60_000,
    );

    fullTest(
      "a question that is answered elsewhere does not wait for a key",
      async () => {
        const here = runAtTerminal(["run", TASK, "--ask", "execute"], { env: home.env, columns: 80, cwd: repository });
        let answered = 0;
        let newest = (await server.client.runs.list({ limit: 1 })).data[0];
        const first = newest?.id;
        while (newest === undefined || newest.finishedAt === null || newest.id === first) {
          const open = newest?.id === first ? undefined : newest?.waitingFor[0];
          if (newest !== undefined && open !== undefined) {
            await server.client.runs.answerPermission(newest.id, open.id, "deny");
            answered += 1;
          }
          await new Promise((resolve) => setTimeout(resolve, 300));
          newest = (await server.client.runs.list({ limit: 1 })).data[0];
        }
        const { output } = await here;
        expect(answered).toBeGreaterThan(0);
        expect(output).toContain("permission deny (person, admin)");
      },
      60_000,
    );

    test("Ctrl-C cancels the run", async () => {
      const typing = [{ at: /allow it\? \[y\/N\] $/, keys: "\u0003" }];
      const { code, output } = await runAtTerminal(["run", TASK, "--ask", "execute"], {
        env: home.env,
        columns: 80,
        cwd: repository,
        typing,
      });
      expect(code).toBe(130);
      expect(output).toContain("Cancelling the run");
      expect((await server.client.runs.list({ limit: 1 })).data[0]?.status).toBe("cancelled");
    }, 60_000);
  });

  test("without a terminal nothing is asked: the command that answers is printed, and works", async () => {
    const detached = await home.cli(["run", TASK, "--ask", "execute", "--detach"], { cwd: repository });
    const id = detached.stdout.trim();
    expect(detached).toMatchObject({ code: 0, stderr: expect.stringContaining(`runyard events ${id}`) });
    await waitFor(id);
    const shown = await ok("show", id);
    expect(shown).toContain(`runyard answer ${id} allow`);
    expect(await home.cli(["pull", id], { cwd: repository })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("when it has ended"),
    });
    expect(await home.cli(["answer", id, "perhaps"])).toMatchObject({ code: 2, stderr: expect.stringContaining("allow or deny") });
    expect(await home.cli(["answer", "last", "deny"])).toMatchObject({ code: 0, stderr: expect.stringContaining("Answered perm_") });
    await waitFor(id);
    expect(await home.cli(["cancel", "last"])).toMatchObject({ code: 0, stderr: `${id} is cancelled.\n` });
    expect(await home.cli(["cancel", "last"])).toMatchObject({ code: 3, stderr: expect.stringContaining("has ended") });
    expect(await home.cli(["answer", "last", "allow"])).toMatchObject({ code: 3, stderr: expect.stringContaining("waits for nothing") });
    expect(await home.cli(["diff", "last"])).toMatchObject({ code: 0, stdout: "" });
    expect(await home.cli(["pull", "last"], { cwd: repository })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("left no result"),
    });

    async function waitFor(runId: string): Promise<void> {
      for (;;) {
        const run = await server.client.runs.get(runId);
        if (run.waitingFor.length > 0) return;
        if (run.finishedAt !== null) throw new Error(`ended: ${run.status}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }, 60_000);

  test("a task that cannot start says why, and what to do", async () => {
    expect(await home.cli(["run", "x"], { cwd: "/" })).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("git init") });
    expect(await home.cli(["run", "x", "--agent", "nobody"], { cwd: repository })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("nobody"),
    });
    expect(await home.cli(["run", "  "], { cwd: repository })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("say what to do"),
    });
  });
});
