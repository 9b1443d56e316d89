// Repositories on other machines: a real server of git on the loopback, from the create to the pushed branch.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import type { Run, RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { type GitServer, startGitServer } from "../src/testing/git-server.ts";
import { useLine } from "../src/testing/line.ts";
import { findSshd, startSshServer } from "../src/testing/ssh-server.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

/** The tests of git/ stand for these in the usual tests, which have little time. */
const FULL = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

/** Found nowhere but in the requests to its host. */
const CANARY = "tok_canary_4f1d2c_of_the_remote";
const LOGIN = { username: "x-access-token", password: CANARY };
const FIRST: readonly ModelStep[] = [{ write: ["one.txt", "one\n"] }, { run: "env; cat .git/config; git remote -v" }, { say: "One." }];
const SECOND: readonly ModelStep[] = [{ write: ["two.txt", "two\n"] }, { say: "Two." }];

describe.skipIf(unavailable !== null)(unavailable === null ? "remote" : `remote repositories cannot be tested: ${unavailable}`, () => {
  const line = useLine({ env: { RUNYARD_REPOSITORY_HOSTS: "127.0.0.1" } });
  let served: GitServer;
  let bare: string;
  let url: string;
  let serial = 0;

  beforeAll(async () => {
    served = await startGitServer({ root: path.join(line.home.root, "served") });
  });
  afterAll(() => served?.close());
  beforeEach(() => {
    Object.assign(served.ways, { login: null, answer: null, slowMs: 0, cutAfter: null, afterPush: null });
    serial += 1;
    const name = `acme/app-${serial}.git`;
    bare = served.add(name, makeRepository(line.home.root, { "README.md": "# x\n" }, `source-${serial}`));
    url = `${served.url}/${name}`;
  });

  async function ended(id: string): Promise<{ run: Run; log: RunEvent[]; notices: string[] }> {
    const run = await line.client.runs.waitForEnd(id);
    const log = await readLog(line.client, id);
    return { run, log, notices: log.flatMap((event) => (event.type === "notice" ? [event.data.code] : [])) };
  }

  test.runIf(FULL)("a further one is fetched and pushed in the same way, beside a first one on this machine", async () => {
    const client = await line.serve([
      { write: ["../repositories/lib/new.txt", "new\n"] },
      { write: ["one.txt", "one\n"] },
      { say: "Done." },
    ]);
    const app = makeRepository(line.home.root, { "README.md": "# x\n" }, `first-${serial}`);
    const ran = await line.home.cli(["run", "Change both", "--sandbox", "bwrap", "--add-repo", `lib=${url}#main`, "--json"], { cwd: app });
    const run = JSON.parse(ran.stdout) as Run;
    const branch = `runyard/${run.id}`;
    expect(run).toMatchObject({ status: "completed", repositories: [{ name: "lib", repositoryUrl: url, branch: "main" }] });
    expect(run.result).toMatchObject({
      headBranch: branch,
      repositories: [{ name: "lib", headBranch: branch, filesChanged: 1, problem: null }],
    });
    expect(gitIn(bare, "show", `${branch}:new.txt`)).toBe("new");
    expect(await client.runs.patch(run.id, { repository: "lib" })).toContain("+++ b/new.txt");
    const twice = { task: "x", repositoryUrl: url, repositories: [{ repositoryUrl: url }] };
    await expect(client.runs.create(twice)).rejects.toThrow(`is the same repository as ${url}: a run has each repository once`);
  });

  test.runIf(FULL)("a push to a further one is tried again, and broken off with the run", async () => {
    const client = await line.serve([{ write: ["../repositories/lib/new.txt", "new\n"] }, { say: "Done." }]);
    const app = makeRepository(line.home.root, { "README.md": "# x\n" }, `first-${serial}`);
    const wish = { task: "Change it", repositoryUrl: app, repositories: [{ repositoryUrl: url, name: "lib" }] };
    const create = (): Promise<Run> => client.runs.create({ ...wish, settings: { sandboxDriver: "bwrap" } });
    let pushes = 0;
    served.ways.answer = (request, response) => {
      if (!request.url?.includes("git-receive-pack") || (pushes += 1) > 2) return false;
      response.writeHead(503).end();
      return true;
    };
    const { run } = await ended((await create()).id);
    expect(run.result?.repositories).toMatchObject([{ name: "lib", headBranch: `runyard/${run.id}`, problem: null }]);
    expect(pushes).toBeGreaterThan(2);

    let isPushing = false;
    served.ways.answer = (request) =>
      request.method === "POST" && request.url?.endsWith("/git-receive-pack") === true && (isPushing = true);
    const { id } = await create();
    await expect.poll(() => isPushing, { timeout: 60_000 }).toBe(true);
    await client.runs.cancel(id);
    expect((await ended(id)).run.status).toBe("cancelled");
    expect(served.requests.at(-1)?.url).toContain("git-receive-pack");
  });

  test("a private one is fetched with a credential that is seen by its server and by nobody else, and each turn is pushed", async () => {
    served.ways.login = LOGIN;
    const client = await line.serve({ first: FIRST, second: SECOND });
    const task = "[[first]] Write one";
    const before = await line.home.cli(["run", task, "--repo", url, "--json"]);
    expect(before.code).not.toBe(0);
    expect(before.stderr).toContain(`runyard credentials add ${url} --token-stdin`);
    const stored = await line.home.cli(["credentials", "add", `${served.url}/acme`, "--token-stdin", "--json"], { input: `${CANARY}\n` });
    expect(JSON.parse(stored.stdout)).toMatchObject({ url: `${served.url}/acme`, kind: "token", username: "x-access-token", usable: true });

    const created = await client.runs.create({ task, repositoryUrl: url });
    expect(created).toMatchObject({ repositoryUrl: url, branch: "main", baseCommit: gitIn(bare, "rev-parse", "main") });
    const first = await ended(created.id);
    expect(first.run).toMatchObject({ status: "completed", error: null, result: { headBranch: `runyard/${created.id}`, filesChanged: 1 } });
    const branch = `runyard/${created.id}`;
    expect(gitIn(bare, "rev-parse", branch)).toBe(first.run.result?.headCommit);
    await client.runs.continue(created.id, "[[second]] Now write two");
    const second = await ended(created.id);
    expect(second.run).toMatchObject({ status: "completed", turn: 2, result: { headBranch: branch, filesChanged: 2 } });
    expect(gitIn(bare, "log", "--format=%s", branch).split("\n")).toHaveLength(3);
    expect(gitIn(bare, "rev-parse", branch)).toBe(second.run.result?.headCommit);
    expect((await client.runs.files(created.id)).data.map((file) => file.path)).toEqual(["one.txt", "two.txt"]);

    const shown = served.requests.flatMap(({ authorization }) => authorization ?? []);
    expect(shown).toContain(`Basic ${Buffer.from(`x-access-token:${CANARY}`).toString("base64")}`);
    expect(JSON.stringify([await client.credentials.list(), second])).not.toContain(CANARY);
    expect(filesWith(line.home.root, CANARY)).toEqual([]);
    expect(await rowsWith(line.home.env["DATABASE_URL"] ?? "", CANARY)).toEqual([]);
    // Controls: both looks find what is there.
    expect(filesWith(line.home.root, created.id).length).toBeGreaterThan(0);
    expect(await rowsWith(line.home.env["DATABASE_URL"] ?? "", "x-access-token")).toEqual(["credentials"]);
  }, 60_000);

  test("a result that cannot be pushed is kept, and pushed by the next turn", async () => {
    const client = await line.serve({ first: FIRST, second: SECOND });
    const hook = path.join(bare, "hooks/pre-receive");
    mkdirSync(path.dirname(hook), { recursive: true });
    writeFileSync(hook, "#!/bin/sh\necho 'nobody may push today' >&2\nexit 1\n", { mode: 0o755 });
    const created = await client.runs.create({ task: "[[first]] Write one", repositoryUrl: url });
    const first = await ended(created.id);
    expect(first.run).toMatchObject({ status: "completed", error: null, result: { headBranch: null, filesChanged: 1 } });
    expect(first.notices).toEqual(["branch-not-pushed"]);
    expect(JSON.stringify(first.log)).toContain("nobody may push today");
    expect(await client.runs.patch(created.id)).toContain("+++ b/one.txt");
    expect(gitIn(bare, "for-each-ref", "--format=%(refname)")).toBe("refs/heads/main");
    rmSync(hook);
    await client.runs.continue(created.id, "[[second]] Now write two");
    const second = await ended(created.id);
    expect(second.run).toMatchObject({ status: "completed", result: { headBranch: `runyard/${created.id}`, filesChanged: 2 } });
    expect(gitIn(bare, "log", "--format=%s", `runyard/${created.id}`).split("\n")).toHaveLength(3);
  }, 60_000);

  test.runIf(FULL)(
    "a server that is away when the run begins ends it as network-error, or has it tried again",
    async () => {
      const client = await line.serve({ first: FIRST });
      let asked = 0;
      let isAway = true;
      // The first question is the create's.
      served.ways.answer = ({ method }, response) => {
        if (method === "POST") asked += 1;
        if (asked < 2 || !isAway) return false;
        isAway = false;
        response.writeHead(503).end();
        return true;
      };
      const { id } = await client.runs.create({ task: "[[first]] Write one", repositoryUrl: url });
      const { run } = await ended(id);
      expect(run).toMatchObject({ status: "failed", error: { type: "network-error", message: expect.stringContaining(url) as string } });
      [asked, isAway] = [0, true];
      const again = await client.runs.create({ task: "[[first]] Write one", repositoryUrl: url, settings: { maxRetries: 1 } });
      expect((await ended(again.id)).run).toMatchObject({ status: "completed", attempt: 2, result: { headBranch: `runyard/${again.id}` } });
    },
    60_000,
  );

  test.runIf(FULL)(
    "by SSH a key is stored from its file, and the host that was called first must stay the same",
    async ({ skip }) => {
      const sshd = findSshd(path.join(line.home.root, "packages"));
      if ("reason" in sshd) return skip(sshd.reason);
      const server = await startSshServer(path.join(line.home.root, "sshd"), sshd);
      try {
        const client = await line.serve({ first: FIRST });
        const key = path.join(line.home.root, "deploy_key");
        writeFileSync(key, server.privateKey, { mode: 0o600 });
        const host = `ssh://git@127.0.0.1:${server.port}`;
        const stored = await line.home.cli(["credentials", "add", host, "--ssh-key", key, "--json"]);
        expect(JSON.parse(stored.stdout)).toMatchObject({ url: host, kind: "ssh-key", knownHosts: null });
        const runs = [];
        for (const _ of [1, 2]) {
          const { id } = await client.runs.create({ task: "[[first]] Write one", repositoryUrl: `${host}${bare}` });
          runs.push({ id, ...(await ended(id)) });
        }
        expect(runs.map(({ notices }) => notices)).toEqual([["host-key-pinned"], []]);
        for (const { id, run } of runs) {
          expect(run).toMatchObject({ status: "completed", result: { headBranch: `runyard/${id}` } });
          expect(gitIn(bare, "rev-parse", `runyard/${id}`)).toBe(run.result?.headCommit);
        }
        const listed = await line.home.cli(["credentials"]);
        expect(listed.stdout).toContain(`must show ${server.knownHosts().trim()}`);
        const body = server.privateKey.split("\n")[2] ?? "";
        expect(body.length).toBeGreaterThan(40);
        expect(filesWith(path.join(line.home.root, "home"), body)).toEqual([]);
        await server.changeHostKey();
        const refused = await line.home.cli(["run", "x", "--repo", `${host}${bare}`]);
        expect(refused.stderr).toContain("does not show the key that is stored for it");
      } finally {
        await server.close();
      }
    },
    120_000,
  );

  test("kill -9 of the server behind the push leaves one branch, and the run ends", async () => {
    const client = await line.serve({ first: FIRST });
    let restarted: Promise<void> | undefined;
    served.ways.afterPush = () => {
      restarted ??= line.restart();
      return true;
    };
    const { id } = await client.runs.create({ task: "[[first]] Write one", repositoryUrl: url });
    await expect.poll(() => restarted !== undefined, { timeout: 50_000 }).toBe(true);
    await restarted;
    const { run } = await ended(id);
    expect(run).toMatchObject({ status: "completed", error: null, result: { headBranch: `runyard/${id}`, filesChanged: 1 } });
    expect(gitIn(bare, "rev-parse", `runyard/${id}`)).toBe(run.result?.headCommit);
    expect(gitIn(bare, "for-each-ref", "--format=%(refname)").split("\n")).toHaveLength(2);
  }, 60_000);

  test.runIf(FULL)(
    "a URL with a token in it is refused by every way in, and shown by none",
    async () => {
      await line.serve([]);
      const text = url.replace("http://", "http://me:tok_in_a_url@");
      const before = served.requests.length;
      for (const words of [
        ["run", "x", "--repo", text],
        ["repositories", text, "--plan"],
        ["credentials", "add", text, "--token-stdin"],
      ]) {
        const refused = await line.home.cli(words, { input: "decoy-of-a-token\n" });
        expect(refused.code, words[0]).not.toBe(0);
        expect(refused.stderr).toMatch(/must not hold a user name, password or token/);
        expect(refused.stdout + refused.stderr).not.toContain("tok_in_a_url");
      }
      await expect(line.client.runs.create({ task: "x", repositoryUrl: text })).rejects.toMatchObject({
        code: "repository_not_usable",
        message: expect.not.stringContaining("tok_in_a_url") as string,
      });
      expect(served.requests.length).toBe(before);
      expect(filesWith(path.join(line.home.root, "home"), "tok_in_a_url")).toEqual([]);
    },
    60_000,
  );
});

/** Tables of which a row holds a text. */
async function rowsWith(connectionString: string, text: string): Promise<string[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>("select tablename as name from pg_tables where schemaname = 'runyard'");
    const found: string[] = [];
    for (const { name } of rows) {
      const sql = `select 1 from runyard.${name} t where to_jsonb(t)::text like '%' || $1 || '%' limit 1`;
      if ((await client.query(sql, [text])).rows.length > 0) found.push(name);
    }
    return found;
  } finally {
    await client.end();
  }
}

/** Files below a folder that hold a text. */
function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(dir, name))
    .filter((file) => existsSync(file) && statSync(file).isFile() && readFileSync(file).includes(text));
}
