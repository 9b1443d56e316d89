// What a server of git can do to whoever calls it, and what stands in nobody's power.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { RemoteCredential } from "../core/remote-credential.ts";
import { openRepositoryProxy, type RepositoryProxy } from "../gateway/repository-proxy.ts";
import { type GitServer, startGitServer } from "../testing/git-server.ts";
import { whyNoSmallDisk } from "../testing/small-disk.ts";
import { findAndCache } from "./cache.ts";
import { GitError, type GitHost } from "./host-git.ts";
import { inspectRepository } from "./local-repository.ts";
import { remoteOutcome } from "./remote-error.ts";
import { hostByUrl } from "./testing/by-url.ts";
import { type GitLab, openGitLab, plainGit } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 60_000 });

const TOKEN = "tok0canary0of0a0hostile0server";
const credential: RemoteCredential = { kind: "token", id: "credential_1", username: "x-access-token", token: TOKEN };

let lab: GitLab;
let served: GitServer;
let proxy: RepositoryProxy;
let host: GitHost;
let url: string;
let bare: string;
let serial = 0;

beforeAll(async () => {
  lab = await openGitLab();
  served = await startGitServer({ root: lab.newPath("served") });
  proxy = await openRepositoryProxy({ allowed: ["127.0.0.1"] });
  host = hostByUrl(lab.host, proxy, { credentialFor: async () => credential });
});
afterAll(async () => {
  await proxy?.close();
  await served?.close();
  await lab?.close();
});
beforeEach(() => {
  Object.assign(served.ways, { answer: null, slowMs: 0, cutAfter: null });
  const name = `acme/app-${(serial += 1)}.git`;
  bare = served.add(name, lab.newRepository());
  url = `${served.url}/${name}`;
});

const failure = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => new Error("it was expected to fail"),
    (error: Error) => error,
  );

describe("a credential that a server says again", () => {
  test("as the name of a branch is neither told nor taken up", async () => {
    plainGit(bare, "branch", TOKEN, "main");
    const unknown = await failure(inspectRepository(host, url, "nothing"));
    expect(unknown.message).toMatch(/There is no branch nothing in .*; there is main/);
    expect(unknown.message).not.toContain(TOKEN);
    plainGit(bare, "symbolic-ref", "HEAD", `refs/heads/${TOKEN}`);
    expect(JSON.stringify(await inspectRepository(host, url))).not.toContain(TOKEN);
  });

  test("as the name of a host is not told", async () => {
    served.ways.answer = (_request, response) => {
      response.writeHead(302, { location: `http://${TOKEN}.example/acme/app.git/info/refs` }).end();
      return true;
    };
    const { message } = await failure(inspectRepository(host, url));
    expect(message).toMatch(/its server sends to another one, \[secret credential\]\.example:80/);
  });
});

test("whoever is to end does not wait for what another run fetches from the same repository", async () => {
  const { commit } = await inspectRepository(host, url);
  served.ways.slowMs = 60_000;
  const cacheDir = lab.newPath("cache");
  const fetching = (runId: string, signal: AbortSignal): Promise<Error> =>
    failure(findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId, signal }));
  const [first, second] = [new AbortController(), new AbortController()];
  const asked = served.requests.length;
  const slow = fetching("run_1", first.signal);
  const waiting = fetching("run_2", second.signal);
  await expect.poll(() => served.requests.slice(asked).some(({ method }) => method === "POST"), { timeout: 20_000 }).toBe(true);
  second.abort(new Error("cancelled"));
  expect((await waiting).message).toBe("cancelled");
  // The control: the other one is still at it.
  expect(await Promise.race([slow, Promise.resolve("still at it")])).toBe("still at it");
  first.abort(new Error("enough"));
  expect((await slow).message).toBe("enough");
  served.ways.slowMs = 0;
  const { cachePath } = await findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId: "run_3" });
  const refs = plainGit(cachePath, "for-each-ref", "--format=%(refname)", "refs/runyard/base");
  expect(refs).toBe("refs/runyard/base/run_3\n");
});

test.skipIf(process.platform !== "linux")("a pack that holds far more than it has bytes does not take the machine's memory", async () => {
  const author = "Nobody <nobody@example.invalid> 1700000000 +0000";
  const content = `tree ${plainGit(bare, "rev-parse", "main^{tree}").trim()}\nauthor ${author}\ncommitter ${author}\n\n`;
  const file = lab.newPath("commit");
  writeFileSync(file, Buffer.concat([Buffer.from(content), Buffer.alloc(64 << 20, "a")]));
  const commit = plainGit(bare, "hash-object", "-t", "commit", "-w", file).trim();
  plainGit(bare, "update-ref", "refs/heads/main", commit);
  const fetch = (maxMemoryBytes: number): Promise<unknown> =>
    findAndCache({ ...host, maxMemoryBytes }, { repositoryUrl: url, cacheDir: lab.newPath("cache"), commit, runId: "run_1" });
  const refused = await failure(fetch(48 << 20));
  expect(refused).toMatchObject({ code: "repository_not_usable" });
  expect([refused.message, remoteOutcome(refused)]).toEqual([`${url} could not be fetched: it is too large`, "too-large"]);
  await fetch(256 << 20);
});

const whyNoDisk = process.env["RUNYARD_TEST_FULL"] ? whyNoSmallDisk() : "in the full tests";

describe.skipIf(whyNoDisk !== null)(whyNoDisk === null ? "a full disk" : `a full disk: ${whyNoDisk}`, () => {
  test("is what a fetch says that it is, and gets its room back", async () => {
    const large = lab.newRepository();
    writeFileSync(path.join(large, "large.bin"), randomBytes(6 << 20));
    plainGit(large, "add", "--all");
    plainGit(large, "commit", "--quiet", "--message", "Large");
    served.add(`acme/large-${serial}.git`, large);
    const repositoryUrl = `${served.url}/acme/large-${serial}.git`;
    const { commit } = await inspectRepository(host, repositoryUrl);
    const disk = lab.newPath("disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", disk]);
    try {
      const error = await failure(findAndCache(host, { repositoryUrl, cacheDir: disk, commit, runId: "run_1" }));
      expect(error).toBeInstanceOf(GitError);
      expect(error.message).toContain("No space left on device");
      const packs = readdirSync(disk).map((name) => path.join(disk, name, "objects/pack"));
      expect(packs).toHaveLength(1);
      expect(packs.flatMap((dir) => (existsSync(dir) ? readdirSync(dir) : ["none"]))).toEqual([]);
    } finally {
      execFileSync("umount", ["--lazy", disk]);
    }
  });
});
