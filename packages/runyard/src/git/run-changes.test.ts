import { readdirSync, renameSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { runChanges } from "./run-changes.ts";
import { type GitLab, openGitLab, plainGit, writeFiles } from "./testing/lab.ts";
import { readMade } from "./testing/read-made.ts";

vi.setConfig({ testTimeout: 60_000 });

let lab: GitLab;
let homes = 0;
beforeAll(async () => {
  lab = await openGitLab();
});
afterAll(() => lab.close());

/** The changes as a home sees them that has never had anything to do with a repository. */
function elsewhere(): ReturnType<typeof runChanges> {
  return runChanges(() => lab.host, path.join(lab.root, `cache-${(homes += 1)}`));
}

function commitFile(dir: string, name: string): string {
  writeFiles(dir, { [name]: `${name}\n` });
  plainGit(dir, "add", "--all");
  plainGit(dir, "commit", "--quiet", "--message", name);
  return plainGit(dir, "rev-parse", "HEAD").trim();
}

/** A repository with what a run made as a branch of it. */
function repositoryWithResult() {
  const repositoryUrl = lab.newRepository();
  const base = commitFile(repositoryUrl, "before");
  plainGit(repositoryUrl, "checkout", "--quiet", "-b", "runyard/run_1");
  const head = commitFile(repositoryUrl, "made");
  plainGit(repositoryUrl, "checkout", "--quiet", "-");
  return { runId: "run_1", orgId: "org_1", repositoryUrl, base, head };
}

test("what another home's run made comes from its branch in the repository, and is read from the cache from then on", async () => {
  const change = repositoryWithResult();
  const { base, head } = change;
  expect((await elsewhere().files(change)).map((file) => file.path)).toEqual(["made"]);
  expect((await elsewhere().diff(change)).files).toMatchObject([{ path: "made", hunks: "@@ -0,0 +1 @@\n+made\n" }]);
  expect((await readMade(elsewhere().patch(change))).toString()).toContain("+++ b/made");
  const changes = elsewhere();
  for (const commit of [base, head])
    expect(await changes.file({ ...change, commit, path: "before" })).toMatchObject({ bytes: expect.anything() as unknown });
  expect(await changes.file({ ...change, commit: base, path: "made" })).toBeNull();
  plainGit(change.repositoryUrl, "branch", "-D", "runyard/run_1");
  plainGit(change.repositoryUrl, "reflog", "expire", "--expire=now", "--all");
  plainGit(change.repositoryUrl, "gc", "--quiet", "--prune=now");
  expect(await changes.files(change)).toHaveLength(1);
  await expect(elsewhere().files(change)).rejects.toMatchObject({
    code: "repository_not_usable",
    message: expect.stringContaining(head.slice(0, 10)) as string,
  });
  // And where the repository is gone with its folder, another run's name still opens nothing.
  renameSync(change.repositoryUrl, `${change.repositoryUrl}.moved`);
  expect(await changes.files(change)).toHaveLength(1);
  await expect(changes.files({ ...change, runId: "run_2" })).rejects.toMatchObject({ code: "repository_not_usable" });
});

test("of patches and bundles few are made at a time, and all of them", async () => {
  const change = { ...repositoryWithResult(), branch: "runyard/run_1" };
  const changes = elsewhere();
  await changes.files(change);
  let most = 0;
  const look = setInterval(() => {
    most = Math.max(most, readdirSync(lab.host.stepsDir).filter((name) => /^(bundle|patch)-/.test(name)).length);
  }, 1);
  const made = await Promise.all(
    Array.from({ length: 16 }, (_, at) => readMade(at % 2 === 0 ? changes.bundle(change) : changes.patch(change))),
  );
  clearInterval(look);
  expect(new Set(made.map(({ length }) => length)).size).toBe(2);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(4);
  // One that fails gives its place to others.
  const failing = Array.from({ length: 5 }, () => changes.bundle({ ...change, base: "0".repeat(40) }).catch(() => "failed"));
  expect(await Promise.all(failing)).toEqual(Array.from({ length: 5 }, () => "failed"));
  expect((await readMade(changes.patch(change))).toString()).toContain("+++ b/made");
});

test("a repository that is not on this machine is a plain refusal", async () => {
  const change = { ...repositoryWithResult(), repositoryUrl: "/nowhere/at/all" };
  for (const ask of ["files", "patch", "diff"] as const)
    await expect(elsewhere()[ask](change)).rejects.toMatchObject({ code: "repository_not_usable" });
});
