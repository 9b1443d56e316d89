import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { GithubError, type GithubVerdict } from "../core/github-answer.ts";
import type { RemoteCredential } from "../core/remote-credential.ts";
import { trustedWith } from "../gateway/authority.ts";
import { openRepositoryProxy, type RepositoryProxy } from "../gateway/repository-proxy.ts";
import { makeAuthority, makeServerCertificate } from "../gateway/x509.ts";
import { basic, type GitServer, startGitServer } from "../testing/git-server.ts";
import { findAndCache, keepResult, repositoryCachePath } from "./cache.ts";
import type { GitHost } from "./host-git.ts";
import { findRepository, inspectRepository, openRepository } from "./local-repository.ts";
import { branchObstacle, publishBranch, remoteOutcome } from "./publish.ts";
import { removeLeftFolders } from "./remote-git.ts";
import { hostByUrl } from "./testing/by-url.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 60_000 });

/** Those that others stand for in the usual tests, which have little time. */
const FULL = Boolean(process.env["RUNYARD_TEST_FULL"]);

const LOGIN = { username: "x-access-token", password: "tok_canary_of_the_remote_test" };
const TOKEN: RemoteCredential = { kind: "token", id: "credential_1", username: LOGIN.username, token: LOGIN.password };

let lab: GitLab;
let served: GitServer;
let proxy: RepositoryProxy;
let host: GitHost;
let credential: RemoteCredential | null = null;
let url: string;
let bare: string;
let serial = 0;

beforeAll(async () => {
  lab = await openGitLab();
  served = await startGitServer({ root: lab.newPath("served") });
  proxy = await openRepositoryProxy({ allowed: ["127.0.0.1"] });
  host = hostWith(proxy);
});
afterAll(async () => {
  await proxy.close();
  await served.close();
  await lab.close();
});
beforeEach(() => {
  credential = null;
  Object.assign(served.ways, { login: null, answer: null, slowMs: 0, cutAfter: null, afterPush: null });
  serial += 1;
  const name = `acme/app-${serial}.git`;
  bare = served.add(name, lab.newRepository());
  url = `${served.url}/${name}`;
});
afterEach(() => {
  expect(leftFolders()).toEqual([]);
});

function leftFolders(): string[] {
  return existsSync(lab.host.stepsDir) ? readdirSync(lab.host.stepsDir).filter((name) => name.startsWith("remote-")) : [];
}

function hostWith(way: RepositoryProxy, more: Partial<NonNullable<GitHost["remotes"]>> = {}): GitHost {
  return hostByUrl(lab.host, way, { credentialFor: async () => credential, ...more });
}

/** A commit of the cache that goes on from another one, as an agent's would. */
function commitOn(cachePath: string, base: string, message = "Result"): string {
  const tree = plainGit(cachePath, "rev-parse", `${base}^{tree}`).trim();
  return plainGit(cachePath, "commit-tree", tree, "-p", base, "-m", message).trim();
}

function branchThere(branch: string): string {
  return plainGit(bare, "rev-parse", `refs/heads/${branch}`).trim();
}

async function failure(work: Promise<unknown>): Promise<Error> {
  const failed: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (failed instanceof Error) return failed;
  throw new Error("it was expected to fail");
}

async function cached(runId = "run_1") {
  const { commit } = await inspectRepository(host, url);
  const cacheDir = lab.newPath("cache");
  return { commit, cacheDir, ...(await findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId })) };
}

/** Something to push. */
async function prepared(branch = "runyard/run_1") {
  const { repository, cachePath, commit } = await cached();
  return { repository, cachePath, head: commitOn(cachePath, commit), branch, base: commit };
}

/** In the usual tests the first rows stand for all. */
function usually<T>(rows: readonly T[], count: number): T[] {
  return rows.slice(0, FULL ? undefined : count);
}

describe("a repository by its URL", () => {
  test("is looked at, fetched once and pushed to", async () => {
    plainGit(bare, "branch", "next/one", "main");
    expect(await inspectRepository(host, `${url}/`)).toMatchObject({ root: url, branch: "main", notices: [] });
    expect(await inspectRepository(host, url, "next/one")).toMatchObject({ branch: "next/one" });
    // Finding it asks nobody: the branch may be named once its root is known.
    const asked = served.requests.length;
    const found = await openRepository(host, `${url}/`);
    expect([found.root, served.requests.length]).toEqual([url, asked]);
    expect(await found.inspect("next/one")).toMatchObject({ branch: "next/one" });
    const { repository, cachePath, commit, cacheDir } = await cached();
    expect(plainGit(cachePath, "rev-parse", "refs/runyard/base/run_1").trim()).toBe(branchThere("main"));
    const before = served.requests.length;
    await findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId: "run_2" });
    expect(plainGit(cachePath, "rev-parse", "refs/runyard/base/run_2").trim()).toBe(commit);
    expect(served.requests.length).toBe(before);

    const publish = { repository, cachePath, head: commitOn(cachePath, commit), branch: "runyard/run_1" };
    expect(await publishBranch(host, publish)).toEqual({ created: true });
    expect(branchThere("runyard/run_1")).toBe(publish.head);
    expect(await publishBranch(host, publish)).toEqual({ created: false });
    expect(plainGit(bare, "for-each-ref", "--format=%(refname)").trim().split("\n")).toHaveLength(3);
    // A cache that was lost gets it from there.
    const other = await findAndCache(host, { repositoryUrl: url, cacheDir: lab.newPath("cache"), commit, runId: "run_1" });
    const keep = { cacheDir: "", ...other, runId: "run_1", commit: publish.head };
    await keepResult(host, keep);
    expect(plainGit(other.cachePath, "rev-parse", "refs/runyard/result/run_1").trim()).toBe(publish.head);
  });

  test.runIf(FULL)("says what is wrong with what is asked for", async () => {
    plainGit(bare, "branch", "other", "main");
    await expect(inspectRepository(host, url, "missing")).rejects.toThrow(/There is no branch missing in .*; there is main, other/);
    await expect(inspectRepository(host, url, "--upload-pack=x")).rejects.toThrow(/is not the name of a branch/);
    served.add("acme/empty.git");
    await expect(inspectRepository(host, `${served.url}/acme/empty.git`)).rejects.toThrow(/has no commit yet: push something first/);
    plainGit(bare, "symbolic-ref", "HEAD", "refs/heads/gone");
    await expect(inspectRepository(host, url)).rejects.toThrow(/has no commit: name another branch \(there is main, other\)/);
    plainGit(bare, "update-ref", "--no-deref", "HEAD", "main");
    expect(await inspectRepository(host, url)).toMatchObject({ branch: null, notices: [{ code: "detached-head" }] });
  });

  test("has a cache of its own for each organization, and many runs can fetch at once", async () => {
    const place = await findRepository(host, url);
    const others = await findRepository(hostWith(proxy, { orgId: "org_2" }), url);
    expect(repositoryCachePath("/c", place)).not.toBe(repositoryCachePath("/c", others));
    const { commit } = await inspectRepository(host, url);
    const cacheDir = lab.newPath("cache");
    const runs = Array.from({ length: 8 }, (_, index) => `run_${index}`);
    const places = await Promise.all(runs.map((runId) => findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId })));
    const refs = plainGit(places[0]?.cachePath ?? "", "for-each-ref", "--format=%(objectname)", "refs/runyard/base");
    expect(refs.trim().split("\n")).toEqual(runs.map(() => commit));
  });
});

describe("the credential", () => {
  test("is shown to its host only, and is in no command line, file or message while git is at work", async () => {
    served.ways.login = LOGIN;
    credential = TOKEN;
    const { commit } = await inspectRepository(host, url);
    expect(served.requests.some(({ authorization }) => authorization === basic(LOGIN))).toBe(true);
    served.ways.slowMs = 1_000;
    const seen = { commandLines: "", environments: "", files: [] as string[], commands: 0 };
    const look = (): void => {
      for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
        const words = readIfThere(`/proc/${pid}/cmdline`);
        seen.environments += readIfThere(`/proc/${pid}/environ`);
        if (words.includes(url)) seen.commands += 1;
        seen.commandLines += words;
      }
      for (const name of leftFolders()) seen.files.push(...readdirSync(path.join(lab.host.stepsDir, name)));
    };
    const timer = setInterval(look, 50);
    const cacheDir = lab.newPath("cache");
    const { cachePath } = await findAndCache(host, { repositoryUrl: url, cacheDir, commit, runId: "run_1" }).finally(() =>
      clearInterval(timer),
    );
    // Controls: git was seen at work, with what it asked for the credential.
    expect(seen.commands).toBeGreaterThan(0);
    expect(seen.files).toContain("credential");
    expect(seen.environments).toContain("GIT_CONFIG_KEY_0=http.proxy");
    for (const told of [seen.commandLines, seen.environments]) expect(told).not.toContain(LOGIN.password);
    expect(readFileSync(path.join(cachePath, "config"), "utf8")).not.toMatch(/tok_canary|credential|proxy/);
    const home = lab.root;
    expect(execFileSync("sh", ["-c", 'grep -rlF "$1" "$2" || true', "sh", LOGIN.password, home], { encoding: "utf8" })).toBe("");
  });

  test("that a server repeats is masked in what is told", async () => {
    served.ways.login = LOGIN;
    credential = TOKEN;
    served.ways.answer = ({ headers }, response) => {
      if (headers.authorization === undefined) return false;
      response.writeHead(403, { "content-type": "text/plain; charset=utf-8" });
      response.end(`you are ${headers.authorization}, ${LOGIN.password}\n`);
      return true;
    };
    const refused = await failure(inspectRepository(host, url));
    expect(remoteOutcome(refused)).toBe("not-permitted");
    expect(refused.message).toContain("you are");
    for (const told of [refused.message, String(refused.cause), JSON.stringify(refused.cause)]) {
      expect(told).not.toContain(LOGIN.password);
      expect(told).not.toContain(basic(LOGIN).slice("Basic ".length));
    }
  });

  test("goes by https to hosts whose certificate is trusted, and to no other", async () => {
    const authority = makeAuthority("World", { days: 5 });
    const { certificate: cert, key } = makeServerCertificate(authority, "localhost", { days: 5 });
    const secure = await startGitServer({ root: lab.newPath("served"), host: "localhost", tls: { cert, key } });
    const local = await openRepositoryProxy({ allowed: ["localhost"] });
    try {
      secure.add("app.git", lab.newRepository());
      secure.ways.login = LOGIN;
      credential = TOKEN;
      const there = `${secure.url}/app.git`;
      const refused = await failure(inspectRepository(hostWith(local), there));
      expect(remoteOutcome(refused)).toBe("certificate");
      expect(secure.requests).toEqual([]);
      const trusting = hostWith(local, { trusted: trustedWith(authority.certificate) });
      expect(await inspectRepository(trusting, there)).toMatchObject({ root: there, branch: "main" });
      expect(secure.requests.at(-1)).toMatchObject({ authorization: basic(LOGIN) });
    } finally {
      await local.close();
      await secure.close();
    }
  });

  test("that a killed server left behind is removed by the next one", async () => {
    const stepsDir = lab.newPath("steps");
    // Beside it what bundles, patches and commands had come to.
    for (const [name, file] of [
      ["remote-left", "credential"],
      ["bundle-left", "result.bundle"],
      ["step-left", "args"],
      ["git-home", ".gitconfig"],
    ] as const) {
      mkdirSync(path.join(stepsDir, name), { recursive: true });
      writeFileSync(path.join(stepsDir, name, file), LOGIN.password);
    }
    await removeLeftFolders(stepsDir);
    expect(readdirSync(stepsDir)).toEqual(["git-home"]);
    await removeLeftFolders(path.join(stepsDir, "nowhere"));
  });

  test.each(["https://somebody:secretpw@git.example/a", "http://tokentoken@git.example/a", "ssh://git:secretpw@git.example/a"])(
    "in a URL is refused, and not repeated (%s)",
    async (text) => {
      const refused = await failure(inspectRepository(host, text));
      expect(refused.message).toMatch(/must not hold a user name, password or token.*runyard credentials add/s);
      expect(refused.message).not.toMatch(/secretpw|tokentoken/);
    },
  );
});

describe("where it does not work", () => {
  const answering =
    (status: number, headers: Record<string, string> = {}, body = "no\n"): (() => void) =>
    () => {
      served.ways.answer = (_request, response) => {
        response.writeHead(status, headers).end(body);
        return true;
      };
    };

  const OUTCOMES = [
    ["authentication-failed", "no credential is stored for it", () => (served.ways.login = LOGIN)],
    ["not-permitted", "may not do that", answering(403)],
    ["not-found", "knows no such repository", answering(404)],
    ["network", "could not be reached", answering(503)],
    ["network", "could not be reached", answering(429)],
    ["moved", "sends to another one, elsewhere.example:80", answering(301, { location: "http://elsewhere.example/a/b.git/info/refs" })],
    ["moved", "sends to another one, 169.254.169.254:80", answering(302, { location: "http://169.254.169.254/latest" })],
    ["moved", "sends to", answering(301, { location: "file:///etc/passwd" })],
  ] as const;
  test.each(usually(OUTCOMES, 5))("looking says %s: %s", async (outcome, words, arrange) => {
    arrange();
    const refused = await failure(inspectRepository(host, url));
    expect(refused).toMatchObject({ code: "repository_not_usable" });
    expect(refused.message).toContain(words);
    expect(remoteOutcome(refused)).toBe(outcome);
  });

  test("of an app there may be no token: for good, which is said, or for now, which is as a host that is away", async () => {
    const rejecting = (verdict: GithubVerdict): GitHost =>
      hostWith(proxy, { credentialFor: () => Promise.reject(new GithubError(verdict)) });
    const before = served.requests.length;
    const never = await failure(
      inspectRepository(rejecting({ type: "never", problem: { code: "app-suspended", message: "It is suspended." } }), url),
    );
    expect([never.message, remoteOutcome(never)]).toEqual([`${url} cannot be used: It is suspended`, null]);
    const later = await failure(
      inspectRepository(
        rejecting({ type: "later", retryAfterMs: null, problem: { code: "unavailable", message: "GitHub answered 503." } }),
        url,
      ),
    );
    expect([later.message, remoteOutcome(later)]).toEqual([
      expect.stringContaining("could not be reached: GitHub answered 503"),
      "network",
    ]);
    expect(served.requests.length).toBe(before);
  });

  test("what is refused is replaced where another one can be had, and asked for what it is to do", async () => {
    served.ways.login = LOGIN;
    const uses: string[] = [];
    const refused: string[] = [];
    let now: RemoteCredential = { ...TOKEN, token: "tok_of_before" };
    const replacing = hostWith(proxy, {
      credentialFor: async (_, use) => {
        uses.push(use);
        return now;
      },
      refused: ({ token }) => {
        refused.push(token);
        now = TOKEN;
      },
    });
    expect(await inspectRepository(replacing, url)).toMatchObject({ branch: "main" });
    expect({ uses, refused }).toEqual({ uses: ["fetch", "fetch"], refused: ["tok_of_before"] });
    credential = TOKEN;
    const { repository, cachePath, head, branch } = await prepared();
    uses.length = 0;
    expect(await publishBranch(replacing, { repository, cachePath, head, branch })).toEqual({ created: true });
    expect(uses).toEqual(["fetch", "push"]);
  });

  test("what may not do it is replaced once, by one that was given more rights since", async () => {
    credential = TOKEN;
    const { repository, cachePath, head, branch } = await prepared();
    const hook = path.join(bare, "hooks", "pre-receive");
    mkdirSync(path.dirname(hook), { recursive: true });
    const words = "refusing to allow a GitHub App to create or update workflow without `workflows` permission";
    writeFileSync(hook, `#!/bin/sh\necho '${words}'\nexit 1\n`, { mode: 0o755 });
    let now = { ...TOKEN, token: "tok_of_before" };
    const refused: string[] = [];
    const granting = hostWith(proxy, {
      credentialFor: async () => now,
      refused({ token }) {
        refused.push(token);
        now = TOKEN;
        if (isGranted) rmSync(hook);
      },
    });
    let isGranted = false;
    const declined = await failure(publishBranch(granting, { repository, cachePath, head, branch }));
    expect([remoteOutcome(declined), refused]).toEqual(["declined", ["tok_of_before"]]);
    refused.length = 0;
    isGranted = true;
    now = { ...TOKEN, token: "tok_of_before" };
    expect(await publishBranch(granting, { repository, cachePath, head, branch })).toEqual({ created: true });
    expect(refused).toEqual(["tok_of_before"]);
  });

  test("a stored credential that is refused is told from none", async () => {
    served.ways.login = { ...LOGIN, password: "another" };
    credential = TOKEN;
    await expect(inspectRepository(host, url)).rejects.toThrow(/refused the credential that is stored for it/);
  });

  test("a fetch that is broken off ends at once, and leaves nothing at work", async () => {
    const { commit } = await inspectRepository(host, url);
    served.ways.slowMs = 20_000;
    const stop = new AbortController();
    const asked = served.requests.length;
    const fetching = findAndCache(host, {
      repositoryUrl: url,
      cacheDir: lab.newPath("cache"),
      commit,
      runId: "run_1",
      signal: stop.signal,
    });
    const failed = failure(fetching);
    await expect.poll(() => served.requests.slice(asked).some(({ method }) => method === "POST"), { timeout: 20_000 }).toBe(true);
    stop.abort(new Error("cancelled"));
    expect((await failed).message).toBe("cancelled");
    const words = readdirSync("/proc").flatMap((pid) => (/^\d+$/.test(pid) ? [readIfThere(`/proc/${pid}/cmdline`)] : []));
    expect(words.filter((one) => one.includes(url))).toEqual([]);
  });

  test("a redirection on the same host is followed, and said", async () => {
    const old = url.replace("/acme/", "/before/");
    served.ways.answer = (request, response) => {
      if (!request.url?.startsWith("/before/")) return false;
      response.writeHead(301, { location: request.url.replace("/before/", "/acme/") }).end();
      return true;
    };
    expect(await inspectRepository(host, old)).toMatchObject({ branch: "main", notices: [{ code: "repository-moved" }] });
  });

  test("an answer that breaks off, a server that is gone, and one that sends too much", async () => {
    const { commit } = await inspectRepository(host, url);
    served.ways.cutAfter = 60;
    const fetching = (to: GitHost): Promise<unknown> =>
      findAndCache(to, { repositoryUrl: url, cacheDir: lab.newPath("cache"), commit, runId: "run_1" });
    expect(remoteOutcome(await failure(fetching(host)))).toBe("network");
    served.ways.cutAfter = null;
    const narrow = hostWith(proxy, { openWay: (target) => proxy.admit({ ...target, maxBytes: 500 }) });
    const large = await failure(fetching(narrow));
    expect(large.message).toContain("sent more than 500 bytes");
    expect(remoteOutcome(large)).toBe("too-large");
    await fetching(host);
    const gone = await startGitServer({ root: lab.newPath("served") });
    await gone.close();
    const away = await failure(inspectRepository(host, `${gone.url}/a.git`));
    expect(away.message).toContain("ECONNREFUSED");
    expect(remoteOutcome(away)).toBe("network");
  });

  test.runIf(FULL)("what git finds fault with is refused, also when it is asked for again", async () => {
    const source = lab.newRepository();
    const tree = plainGit(source, "hash-object", "-w", "--stdin", "-t", "blob", "README.md").trim();
    const entry = Buffer.concat([Buffer.from("100644 .git\0"), Buffer.from(tree, "hex")]);
    writeFileSync(path.join(source, "tree"), entry);
    const bad = plainGit(source, "hash-object", "-w", "-t", "tree", "--literally", "tree").trim();
    const commit = plainGit(source, "commit-tree", bad, "-m", "Bad").trim();
    plainGit(source, "update-ref", "refs/heads/bad", commit);
    served.add("acme/bad.git", source);
    const fetching = (cacheDir: string): Promise<unknown> =>
      findAndCache(host, { repositoryUrl: `${served.url}/acme/bad.git`, cacheDir, commit, runId: "run_1" });
    const cacheDir = lab.newPath("cache");
    for (const _ of [1, 2]) await expect(fetching(cacheDir)).rejects.toThrow(/was refused, because git finds fault with it/);
  });
});

describe("the way out", () => {
  const ADDRESSES: readonly (readonly [url: string, words: RegExp])[] = [
    ["http://127.0.0.1:1/a", /127\.0\.0\.1.*not public|address that is not public/],
    ["http://localhost:1/a", /address that is not public/],
    ["https://10.1.2.3/a", /address that is not public/],
    ["https://[::1]/a", /address that is not public/],
    ["https://0x7f.1/a", /address that is not public/],
    ["https://2130706433/a", /address that is not public/],
    ["https://169.254.169.254/a", /address that is not public/],
    ["http://git.example/a", /goes by http.*RUNYARD_REPOSITORY_HOSTS=http:\/\/git\.example/],
  ];
  test.each(usually(ADDRESSES, 2))("does not lead to %s unless it is allowed", async (text, words) => {
    const closed = await openRepositoryProxy({ allowed: [] });
    try {
      const refused = await failure(inspectRepository(hostWith(closed, { allowed: [] }), text));
      expect(refused.message).toMatch(words);
      expect(refused.message).toContain("RUNYARD_REPOSITORY_HOSTS");
    } finally {
      await closed.close();
    }
  });

  test("does not lead to a link-local address that is allowed, nor to a name that stands for a private one", async () => {
    const open = await openRepositoryProxy({
      allowed: ["169.254.169.254"],
      resolve: (_name, options, callback) =>
        options.all === true ? callback(null, [{ address: "10.0.0.7", family: 4 }]) : callback(null, "10.0.0.7", 4),
    });
    try {
      for (const [text, words] of [
        ["http://169.254.169.254/a", "link-local"],
        ["https://internal.example/a", "its name stands for an address that is not public"],
      ] as const) {
        const refused = await failure(inspectRepository(hostWith(open, { allowed: ["http://169.254.169.254"] }), text));
        expect(refused.message).toContain(words);
        expect(remoteOutcome(refused)).toBe("address-refused");
      }
    } finally {
      await open.close();
    }
  });

  test("needs its password, and leads to one host", async () => {
    const way = proxy.admit({ protocol: "http", host: "127.0.0.1", port: served.port, maxBytes: 1_000_000 });
    const refs = `${url}/info/refs?service=git-upload-pack`;
    try {
      expect(way.trouble).toBeNull();
      expect(await curl(way, way.token, refs)).toBe("200");
      expect(await curl(way, "wrong", refs)).toBe("407");
      expect(await curl(way, way.token, `http://127.0.0.1:${served.port + 1}/`)).toBe("403");
      expect(way.trouble).toMatchObject({ kind: "other-host" });
    } finally {
      way.close();
    }
    expect(await curl(way, way.token, refs)).toBe("407");
  });
});

describe("a push", () => {
  test("is done once, whether its answer arrives or not", async () => {
    const publish = await prepared();
    served.ways.afterPush = () => false;
    expect(await publishBranch(host, publish)).toEqual({ created: false });
    expect(branchThere(publish.branch)).toBe(publish.head);
    served.ways.afterPush = null;
    expect(await publishBranch(host, publish)).toEqual({ created: false });
  });

  test("moves a branch on from where it is expected only, and never takes a commit from it", async () => {
    const publish = await prepared();
    const { repository, cachePath, head, branch, base } = publish;
    await publishBranch(host, publish);
    const next = commitOn(cachePath, head, "Next");
    await expect(publishBranch(host, { ...publish, head: next })).rejects.toThrow(/there is such a branch already/);
    expect(await branchObstacle(host, { repository, head: next, branch, onto: [base] })).toContain("somebody moved it");
    expect(await branchObstacle(host, { repository, head: next, branch, onto: [head] })).toBeNull();
    const aside = commitOn(cachePath, base, "Aside");
    await expect(publishBranch(host, { ...publish, head: aside, onto: [head] })).rejects.toThrow(/on which the result does not go on/);
    expect(await publishBranch(host, { ...publish, head: next, onto: [head] })).toEqual({ created: true });
    expect(branchThere(branch)).toBe(next);
  });

  test.each(usually(["one that is moved on", "a new branch"], 1))("loses to somebody who was faster (%s)", async (what) => {
    const publish = await prepared();
    const { cachePath, head, branch, base } = publish;
    const isNew = what === "a new branch";
    if (!isNew) await publishBranch(host, publish);
    const theirs = plainGit(bare, "commit-tree", `${base}^{tree}`, "-p", isNew ? base : head, "-m", "Theirs").trim();
    let isFirst = true;
    served.ways.answer = ({ url: asked = "" }) => {
      if (asked.endsWith("service=git-receive-pack") && isFirst) {
        isFirst = false;
        plainGit(bare, "update-ref", `refs/heads/${branch}`, theirs);
      }
      return false;
    };
    const mine = isNew ? head : commitOn(cachePath, head, "Mine");
    const lost = await failure(publishBranch(host, { ...publish, head: mine, onto: isNew ? [] : [head] }));
    expect(remoteOutcome(lost)).toBe("non-fast-forward");
    expect(branchThere(branch)).toBe(theirs);
  });

  test.runIf(FULL)("may be larger than what git sends at once", async () => {
    const publish = await prepared();
    const { cachePath, base } = publish;
    const blob = execFileSync("git", ["--git-dir", cachePath, "hash-object", "-w", "--stdin"], {
      input: randomBytes(3_000_000),
      encoding: "utf8",
    });
    const tree = execFileSync("git", ["--git-dir", cachePath, "mktree"], {
      input: `100644 blob ${blob.trim()}\tlarge\n`,
      encoding: "utf8",
    });
    const head = plainGit(cachePath, "commit-tree", tree.trim(), "-p", base, "-m", "Large").trim();
    expect(await publishBranch(host, { ...publish, head })).toEqual({ created: true });
    expect(branchThere(publish.branch)).toBe(head);
  });

  test("that a hook declines, or that is not permitted, says so with the server's words", async () => {
    const publish = await prepared();
    writeFiles(bare, { "hooks/pre-receive": "#!/bin/sh\necho 'GH006: protected \u001b[31mbranch' >&2\nexit 1\n" });
    execFileSync("chmod", ["+x", path.join(bare, "hooks/pre-receive")]);
    const declined = await failure(publishBranch(host, publish));
    expect(remoteOutcome(declined)).toBe("declined");
    expect(declined.message).toContain("GH006: protected ?[31mbranch");
    plainGit(bare, "config", "http.receivepack", "false");
    expect(remoteOutcome(await failure(publishBranch(host, publish)))).toBe("not-permitted");
    expect(plainGit(bare, "for-each-ref", "--format=%(refname)").trim()).toBe("refs/heads/main");
  });
});

/** What a request by way of the proxy is answered, as the number of its status. */
async function curl(way: { readonly port: number }, token: string, target: string): Promise<string> {
  const words = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-x", `http://git:${token}@127.0.0.1:${way.port}`, target];
  return (await promisify(execFile)("curl", words, { env: { PATH: process.env["PATH"] } })).stdout;
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
