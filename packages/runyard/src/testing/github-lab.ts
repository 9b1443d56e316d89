import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { type GitServer, startGitServer } from "./git-server.ts";
import type { FakeApp } from "./github-app.ts";
import { type FakeGithub, type FakeRoute, startFakeGithub } from "./github.ts";
import { gitIn, makeRepository } from "./server.ts";

/** A GitHub server on the loopback: git's own http-backend, and an API that answers as GitHub's does. It has the repository acme/app. */
export interface GithubLab {
  /** The folder that all of it is in; its repository is `git/acme/app.git` there. */
  readonly root: string;
  readonly git: GitServer;
  /** The API; anew at every `begin`. */
  readonly github: FakeGithub;
  readonly token: string;
  readonly repositoryUrl: string;
  /** The folder of the repository. */
  readonly bare: string;
  /** For a server that is to reach it. */
  readonly env: Readonly<Record<string, string>>;
  /** Forgets all pull requests and faults. */
  begin(): Promise<void>;
  /** The commit of a branch there. */
  commitOf(branch: string): string;
  /** A file as a commit there has it. */
  fileAt(commit: string, file: string): string;
  /** The names of a commit's files. */
  filesAt(commit: string): string[];
  /** The subjects of its commits, the newest first. */
  subjects(branch: string): string[];
  /** Makes the head of a pull request there: a commit of these files on `main`, which no branch has. */
  propose(number: number, files: Readonly<Record<string, string>>): { readonly base: string; readonly head: string };
  /** Branches of runs that are there. */
  branches(): string[];
  close(): Promise<void>;
}

export interface GithubLabOptions {
  readonly more?: readonly FakeRoute[];
  /** By which its repository is reached, in the place of the token. */
  readonly app?: FakeApp;
}

export async function openGithubLab({ more = [], app }: GithubLabOptions = {}): Promise<GithubLab> {
  const token = "ghp_canary_of_the_tests";
  const root = mkdtempSync(path.join(tmpdir(), "runyard-github-"));
  const git = await startGitServer({ root: path.join(root, "git") });
  const host = `127.0.0.1:${git.port}`;
  const bare = git.add("acme/app.git", makeRepository(root, { "README.md": "# App\n" }, "source"));
  if (app === undefined) git.ways.login = { username: "x-access-token", password: token };
  let github: FakeGithub | null = null;
  const begin = async (): Promise<void> => {
    await github?.close();
    const made = await startFakeGithub({ token, repository: "acme/app", url: git.url, more, ...(app && { app }) });
    github = made;
    git.ways.answer = (request, response) => made.answer(request, response) || (app !== undefined && refusesGit(app, request, response));
    git.ways.afterPush = null;
  };
  await begin();
  return {
    root,
    git,
    get github() {
      return github!;
    },
    token,
    repositoryUrl: `${git.url}/acme/app.git`,
    bare,
    env: { RUNYARD_GITHUB_HOSTS: host, RUNYARD_REPOSITORY_HOSTS: host },
    begin,
    commitOf: (branch) => gitIn(bare, "rev-parse", branch),
    fileAt: (commit, file) => gitIn(bare, "show", `${commit}:${file}`),
    filesAt: (commit) => gitIn(bare, "ls-tree", "--name-only", commit).split("\n"),
    subjects: (branch) => gitIn(bare, "log", "--format=%s", branch).split("\n"),
    propose(number, files) {
      const clone = mkdtempSync(path.join(root, "proposal-"));
      gitIn(clone, "clone", "--quiet", bare, ".");
      for (const [file, content] of Object.entries(files)) writeFileSync(path.join(clone, file), content);
      gitIn(clone, "add", "--all");
      gitIn(clone, "commit", "--quiet", "--message", "A proposal");
      gitIn(clone, "push", "--quiet", "origin", `HEAD:refs/pull/${number}/head`);
      return { base: gitIn(bare, "rev-parse", "main"), head: gitIn(clone, "rev-parse", "HEAD") };
    },
    branches: () => gitIn(bare, "for-each-ref", "--format=%(refname:short)", "refs/heads/runyard").split("\n").filter(Boolean),
    async close() {
      await github?.close();
      await git.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** What GitHub's git says to whoever shows no token of the app that is good for it; false: it is. */
function refusesGit(app: FakeApp, request: IncomingMessage, response: ServerResponse): boolean {
  const [user = "", shown = ""] = Buffer.from((request.headers.authorization ?? "").replace(/^Basic /, ""), "base64")
    .toString()
    .split(":");
  const [, name = ""] = /^\/acme\/([^/]+)\.git\//.exec(request.url ?? "") ?? [];
  const writes = /git-receive-pack/.test(request.url ?? "");
  const admitted = user === "x-access-token" ? app.admitsGit(shown, { name, writes }) : null;
  if (admitted === true) return false;
  if (admitted === null) response.writeHead(401, { "www-authenticate": 'Basic realm="GitHub"' }).end("who is there?\n");
  else response.writeHead(403).end("Write access to repository not granted.\n");
  return true;
}
