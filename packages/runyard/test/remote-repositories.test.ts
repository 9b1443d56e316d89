// Repositories on other machines: a real server of git on the loopback, from the create to the pushed branch.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { Run, RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { type GitServer, startGitServer } from "../src/testing/git-server.ts";
import { useLine } from "../src/testing/line.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

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
  }, 60_000);
});

/** Files below a folder that hold a text. */
function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(dir, name))
    .filter((file) => existsSync(file) && statSync(file).isFile() && readFileSync(file).includes(text));
}
