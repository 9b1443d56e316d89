// A GitHub App as the credential of a run, on the whole line: a fake that verifies what an app shows it, git's own http-backend
// behind it, and nothing of key and tokens anywhere else.
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { filesWith, processesWith, rowsWith } from "../src/testing/canary.ts";
import { fakeApp } from "../src/testing/github-app.ts";
import { fakeChecks } from "../src/testing/github-checks.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { readLog } from "../src/testing/server.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(!full || unavailable !== null)(unavailable === null ? "a GitHub App" : `a GitHub App: ${unavailable}`, async () => {
  const app = fakeApp();
  const checks = fakeChecks({ judge: () => [{ name: "unit", status: "completed", conclusion: "success" }] });
  const lab = await openGithubLab({ app, more: checks.routes });
  const line = useLine({ env: { ...lab.env, RUNYARD_TEST_POLL_MS: "100" } });
  const url = `${lab.git.url}/acme`;
  /** A line of the key, which is nowhere else. */
  const canary = app.privateKey.split("\n")[7]!;
  const granted = { ...app.permissions };
  /** How what the app signs begins. */
  const signed = Buffer.from('{"alg":"RS256"').toString("base64url").slice(0, -2);

  beforeAll(async () => {
    const words = ["credentials", "add", url, "--github-app", String(app.id), "--private-key-stdin", "--json"];
    const stored = await line.home.cli(words, { input: app.privateKey });
    expect(JSON.parse(stored.stdout)).toMatchObject({ url, kind: "github-app", appId: String(app.id), username: null, usable: true });
    expect(stored.stdout + stored.stderr).not.toContain(canary);
  });
  beforeEach(async () => {
    Object.assign(app, { isInstalled: true, isSuspended: false, permissions: { ...granted }, lifeMs: 3_600_000 });
    app.tokens.length = 0;
    await lab.begin();
  });
  afterAll(() => lab.close());

  const noticesOf = async (id: string): Promise<string[]> =>
    (await readLog(line.client, id)).flatMap((event) => (event.type === "notice" ? [`${event.data.code}: ${event.data.message}`] : []));

  test("fetches, pushes, opens a pull request and reads checks, each with a token of its own, and shows none of them", async () => {
    const client = await line.serve([
      { write: ["one.txt", "x\n"] },
      { run: "env; cat .git/config; git remote --verbose; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '" },
      { say: "Done." },
      { write: ["two.txt", "x\n"] },
      { say: "Done." },
    ]);
    // While git pushes, the token is in files of its own, and on no command line.
    const seen: string[][] = [];
    lab.git.ways.afterPush = () => {
      seen.push(processesWith("ghs_canary"), processesWith("push --quiet --porcelain"));
      return true;
    };
    const done = await line.home.cli(["run", "Write a note", "--repo", lab.repositoryUrl, "--draft", "--watch-checks", "--json"]);
    const run = JSON.parse(done.stdout) as Run;
    const branch = `runyard/${run.id}`;
    expect(run).toMatchObject({ status: "completed", error: null, responseType: "pr", result: { headBranch: branch } });
    expect(lab.commitOf(branch)).toBe(run.result?.headCommit);
    expect(lab.github.pulls).toMatchObject([{ head: branch, draft: true }]);
    expect([seen[0]?.length, (seen[1]?.length ?? 0) > 0]).toEqual([0, true]);
    const rights = app.tokens.map(({ repositories, permissions }) => JSON.stringify([repositories, permissions]));
    expect([...rights].sort()).toEqual(
      [{ contents: "read" }, { contents: "write" }, { pull_requests: "write" }, { checks: "read", statuses: "read", actions: "read" }]
        .map((one) => JSON.stringify([["app"], { metadata: "read", ...one }]))
        .sort(),
    );
    // The next turn goes on with them.
    await client.runs.continue(run.id, "Write another one");
    expect(await client.runs.waitForEnd(run.id)).toMatchObject({ status: "completed", turn: 2, responseType: "pr" });
    expect(app.tokens).toHaveLength(4);
    await client.runs.pullRequest(run.id, { draft: false });
    expect(lab.github.pulls[0]?.draft).toBe(false);

    const log = await readLog(client, run.id);
    const told = JSON.stringify([log, await client.credentials.list(), await client.runs.get(run.id), lab.github.pulls]);
    for (const secret of [canary, "ghs_canary", signed]) {
      expect(told).not.toContain(secret);
      expect(filesWith(line.home.root, secret)).toEqual([]);
      expect(await rowsWith(line.home.env["DATABASE_URL"] ?? "", secret)).toEqual([]);
    }
    // Controls: what is looked for is shown where it belongs, and the looks find what is there.
    for (const begin of ["ghs_canary", signed])
      expect(lab.github.requests.some(({ token }) => token?.startsWith(begin) === true)).toBe(true);
    expect(
      lab.git.requests.some(({ authorization = "" }) => Buffer.from(authorization.slice(6), "base64").toString().includes("ghs_canary")),
    ).toBe(true);
    expect(told).toContain("HOME=/home/agent");
    expect(filesWith(line.home.root, run.id).length).toBeGreaterThan(0);
    expect(await rowsWith(line.home.env["DATABASE_URL"] ?? "", "github-app")).toEqual(["credentials"]);
  }, 90_000);

  test("tokens that end while the run goes on are got anew", async () => {
    // Shorter than what is kept in hand: each one is at its end for whoever asks next.
    app.lifeMs = 240_000;
    // What the server has kept of the test before is worth nothing any more, either.
    await line.serve([{ write: ["three.txt", "x\n"] }, { say: "Done." }]);
    const { id } = await line.client.runs.create({ task: "Write a note", repositoryUrl: lab.repositoryUrl });
    const ended = await line.client.runs.waitForEnd(id);
    expect(await noticesOf(id)).toEqual([]);
    expect(ended).toMatchObject({ status: "completed", responseType: "pr" });
    expect(app.tokens.filter(({ permissions }) => permissions["contents"] === "read").length).toBeGreaterThan(1);
  }, 60_000);

  test("what an app is not allowed is said where it matters: at the create, at the push, at the pull request", async () => {
    await line.serve([{ write: ["four.txt", "x\n"] }, { say: "Done." }, { write: ["five.txt", "x\n"] }, { say: "Done." }]);
    app.isInstalled = false;
    const refused = await line.home.cli(["run", "x", "--repo", lab.repositoryUrl]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/cannot be used: GitHub answered 404: Not Found\. The GitHub App 4711 is not installed/);
    app.isInstalled = true;

    app.permissions = { contents: "read", metadata: "read" };
    const { id } = await line.client.runs.create({ task: "Write a note", repositoryUrl: lab.repositoryUrl });
    expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", result: { headBranch: null, filesChanged: 1 } });
    expect((await noticesOf(id)).join("\n")).toMatch(/branch-not-pushed: .*is not granted contents: write/);

    app.permissions = { contents: "write", metadata: "read" };
    await line.client.runs.continue(id, "Go on");
    expect(await line.client.runs.waitForEnd(id)).toMatchObject({
      status: "completed",
      result: { headBranch: `runyard/${id}`, pullRequestProblem: { code: "app-permission-missing" } },
    });
    expect((await noticesOf(id)).join("\n")).toMatch(/pull-request-not-opened: .*is not granted pull_requests: write/);
  }, 90_000);
});
