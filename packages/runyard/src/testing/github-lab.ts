import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type GitServer, startGitServer } from "./git-server.ts";
import { type FakeGithub, type FakeRoute, startFakeGithub } from "./github.ts";
import { gitIn, makeRepository } from "./server.ts";

/** A GitHub server on the loopback: git's own http-backend, and an API that answers as GitHub's does. It has the repository acme/app. */
export interface GithubLab {
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

export async function openGithubLab({ more = [] }: { readonly more?: readonly FakeRoute[] } = {}): Promise<GithubLab> {
  const token = "ghp_canary_of_the_tests";
  const root = mkdtempSync(path.join(tmpdir(), "runyard-github-"));
  const git = await startGitServer({ root: path.join(root, "git") });
  const host = `127.0.0.1:${git.port}`;
  const bare = git.add("acme/app.git", makeRepository(root, { "README.md": "# App\n" }, "source"));
  git.ways.login = { username: "x-access-token", password: token };
  let github: FakeGithub | null = null;
  const begin = async (): Promise<void> => {
    await github?.close();
    github = await startFakeGithub({ token, repository: "acme/app", url: git.url, more });
    git.ways.answer = github.answer;
    git.ways.afterPush = null;
  };
  await begin();
  return {
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
