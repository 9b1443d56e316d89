import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { neutralizeMessages } from "./neutral-messages.ts";
import { resultRef } from "./names.ts";
import { signCommits } from "./sign-commits.ts";
import { type GitLab, openGitLab, plainGit, plainGitMayFail, plainShell } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 60_000 });

let lab: GitLab;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** A bare repository with commits on top of its first one, each with a message of so many bytes. */
function historyOf(sizes: readonly number[]): { cachePath: string; base: string; head: string } {
  const dir = lab.newRepository();
  const base = plainGit(dir, "rev-parse", "HEAD").trim();
  for (const size of sizes) plainShell(dir, `head -c ${size} /dev/zero | tr '\\0' x | git commit --quiet --allow-empty --file -`);
  return { cachePath: `${dir}/.git`, base, head: plainGit(dir, "rev-parse", "HEAD").trim() };
}

describe("commits of an agent, whose messages may have any size", () => {
  test.each([
    ["one that is too large", [100, 2 * 1024 ** 2, 100], false],
    ["large ones", [1_000_000, 1_000_000], true],
  ])("%s", async (_, sizes, isTaken) => {
    const history = historyOf(sizes);
    const neutral = neutralizeMessages(lab.host, { ...history, runId: "run_1" });
    if (isTaken) expect(await neutral).toEqual({ head: history.head, changed: 0 });
    else await expect(neutral).rejects.toThrow(/a commit of the result has more than 1048576 bytes beside its files/);
    const signed = signCommits(lab.host, { ...history, runId: "run_2", sign: () => "-----BEGIN\nx\n-----END\n" });
    if (isTaken) expect(await signed).not.toBe(history.head);
    else await expect(signed).rejects.toThrow(/a commit of the result has more than 1048576 bytes beside its files/);
    expect(plainGitMayFail(history.cachePath, "rev-parse", "--verify", resultRef("run_2")).status === 0).toBe(isTaken);
    expect(readdirSync(lab.host.stepsDir).filter((name) => /^(messages|sign)-/.test(name))).toEqual([]);
  });
});
