import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { git, GitError, tryGit, tryGitSeries } from "./host-git.ts";
import { type GitLab, openGitLab } from "./testing/lab.ts";

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

describe("git on the host", () => {
  it("sees nothing of the machine's or the user's configuration", async () => {
    const seen = await git(lab.host, ["config", "--list", "--show-origin", "--show-scope"]);
    const scopes = new Set(
      seen
        .trim()
        .split("\n")
        .map((line) => line.split("\t").slice(0, 2).join(" ")),
    );
    expect([...scopes].toSorted()).toEqual(["command command line:", `global file:${lab.host.stepsDir}/git-home/.gitconfig`]);
    expect(seen).toContain("safe.directory=*");
  });

  it("has no way to a network or to another program's transport", async () => {
    const dir = lab.newRepository();
    for (const url of ["https://host.invalid/x", "ssh://host.invalid/x", "git://host.invalid/x", "ext::sh -c true"]) {
      const { code, stderr } = await tryGit(lab.host, ["fetch", "--", url], { cwd: dir });
      expect([url, code, /transport '\w+' not allowed/.test(stderr)]).toEqual([url, 128, true]);
    }
  });

  it("runs commands one after the other up to the first that fails, with every word as it is", async () => {
    const dir = lab.newRepository();
    const words = ["a b", "it's", '"', "new\nline", "", "$(touch x)", "${1}", "*", "\\"];
    const inside = (...command: string[]): string[] => ["-C", dir, ...command];
    const results = await tryGitSeries(lab.host, [
      inside("rev-parse", "--sq-quote", ...words),
      inside("rev-parse", "--is-inside-work-tree"),
      inside("rev-parse", "--verify", "nothing"),
      inside("update-ref", "refs/heads/late", "HEAD"),
    ]);
    const quoted = words.map((word) => ` '${word.replaceAll("'", "'\\''")}'`).join("");
    expect(results.slice(0, 2)).toEqual([
      { stdout: `${quoted}\n`, stderr: "", code: 0 },
      { stdout: "true\n", stderr: "", code: 0 },
    ]);
    expect(results.slice(2)).toEqual([{ stdout: "", stderr: "fatal: Needed a single revision\n", code: 128 }]);
    expect((await tryGit(lab.host, inside("rev-parse", "--verify", "refs/heads/late"))).code).toBe(128);
  });

  it("tells in one sentence what went wrong", async () => {
    const error = await git(lab.host, ["--git-dir", lab.newPath("none"), "-c", "a.b=c", "rev-parse", "HEAD"]).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(GitError);
    expect((error as GitError).message).toMatch(/^git rev-parse failed: not a git repository: '.*'$/);
    expect((error as GitError).code).toBe(128);
    expect((error as GitError).stderr).toMatch(/^fatal: not a git repository/);
  });

  it("ends when it takes too long, or is not wanted any more", async () => {
    const dir = lab.newRepository();
    const forever = ["-c", "alias.forever=!sleep 600", "forever"];
    await expect(git(lab.host, forever, { cwd: dir, timeoutMs: 300 })).rejects.toThrow(/^git forever failed: it took longer than 0 s$/);
    const cancel = new AbortController();
    const waiting = git(lab.host, forever, { cwd: dir, signal: cancel.signal });
    cancel.abort(new Error("not wanted"));
    await expect(waiting).rejects.toThrow("not wanted");
  });
});
