import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openRepositoryProxy, type RepositoryProxy } from "../gateway/repository-proxy.ts";
import type { RemoteCredential } from "../core/remote-credential.ts";
import { type GitServer, startGitServer } from "../testing/git-server.ts";
import type { GitHost } from "./host-git.ts";
import { branchObstacle, publishBranch } from "./publish.ts";
import { remoteOutcome } from "./remote-error.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

let lab: GitLab;
let server: GitServer;
let proxy: RepositoryProxy;
let host: GitHost;
let credential: RemoteCredential | null;
let url: string;
let remoteDir: string;

const LOGIN = { username: "x-access-token", password: "tok_canary_of_the_remote_test" };
const TOKEN: RemoteCredential = { kind: "token", id: "credential_1", username: LOGIN.username, token: LOGIN.password };

beforeAll(async () => {
  lab = await openGitLab();
  server = await startGitServer({ root: lab.newPath("served") });
  proxy = await openRepositoryProxy({ allowed: ["127.0.0.1"] });
  host = hostWith(proxy, ["127.0.0.1"]);
});
afterAll(async () => {
  await proxy.close();
  await server.close();
  await lab.close();
});
beforeEach(() => {
  credential = null;
  Object.assign(server.ways, { login: null, answer: null, slowMs: 0, cutAfter: null, afterPush: null });
  const name = `acme/app-${Math.trunc(performance.now() * 1000)}.git`;
  remoteDir = server.add(name, lab.newRepository());
  url = `${server.url}/${name}`;
});

function hostWith(way: RepositoryProxy, allowed: readonly string[]): GitHost {
  return {
    ...lab.host,
    remotes: {
      orgId: "org_1",
      allowed,
      extraCertificates: null,
      credentialFor: async () => credential,
      pinHost: async () => undefined,
      openWay: (target) => way.admit(target),
    },
  };
}

/** A commit on the remote's main, made by somebody else. */
function cachedCommit(cachePath: string, base: string): string {
  const tree = plainGit(cachePath, "rev-parse", `${base}^{tree}`).trim();
  return plainGit(cachePath, "commit-tree", tree, "-p", base, "-m", "Result").trim();
}

async function failure(work: Promise<unknown>): Promise<Error> {
  return work.then(
    () => {
      throw new Error("it was expected to fail");
    },
    (error: Error) => error,
  );
}

async function cached(runId = "run_1") {
  const { commit } = await inspectRepository(host, url);
  const cacheDir = lab.newPath("cache");
  return { commit, cacheDir, ...(await findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId })) };
}

describe("a repository by its URL", () => {
  test("is looked at, fetched and pushed to", async () => {
    const inspected = await inspectRepository(host, url);
    expect(inspected).toMatchObject({ root: url, branch: "main", notices: [] });
    const { repository, cachePath, commit } = await cached();
    expect(commit).toBe(inspected.commit);
    expect(plainGit(cachePath, "cat-file", "-t", commit).trim()).toBe("commit");
    const head = cachedCommit(cachePath, commit);
    const publish = { repository, cachePath, head, branch: "runyard/run_1" };
    expect(await publishBranch(host, publish)).toEqual({ created: true });
    expect(plainGit(remoteDir, "rev-parse", "refs/heads/runyard/run_1").trim()).toBe(head);
    expect(await publishBranch(host, publish)).toEqual({ created: false });
    expect(readdirSync(lab.host.stepsDir).filter((name) => name.startsWith("remote-"))).toEqual([]);
  });

  test("is fetched with the credential, which its server sees and nobody is told", async () => {
    server.ways.login = LOGIN;
    const refused = await failure(inspectRepository(host, url));
    expect(remoteOutcome(refused)).toBe("authentication-failed");
    expect(refused.message).toContain(`runyard credentials add ${url} --token-stdin`);
    credential = TOKEN;
    const { cachePath, commit } = await cached();
    expect(plainGit(cachePath, "cat-file", "-t", commit).trim()).toBe("commit");
    expect(server.requests.some(({ authorization }) => authorization !== undefined)).toBe(true);
    expect(existsSync(cachePath)).toBe(true);
  });
});
