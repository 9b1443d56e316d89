// Fifty runs on one repository that publish side by side: each branch is one run's change and nothing else, and no push takes
// anything from anybody.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import type { ModelStep } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const RUNS = 50;
const numbers = Array.from({ length: RUNS }, (_, number) => number);
const NO_COMMIT = "0".repeat(40);

describe.skipIf(unavailable !== null || !full)(
  unavailable === null ? "publishing at once" : `publishing at once cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const bare = path.join(lab.root, "git/acme/app.git");
    const pushes = path.join(lab.root, "pushes");
    const line = useLine({ env: { ...lab.env, RUNYARD_MAX_RUNS: "6" } });

    beforeAll(() => line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token: lab.token }));
    afterAll(() => lab.close());

    /** All write to the same file, each a line of its own, and to a file of its own; in a second turn to that one only. */
    const script = Object.fromEntries(
      numbers.flatMap((number): [string, readonly ModelStep[]][] => [
        [
          `first${number}`,
          [{ write: ["shared.txt", `run ${number}\n`] }, { write: [`own-${number}.txt`, `${number}\n`] }, { say: `Said by ${number}.` }],
        ],
        [`more${number}`, [{ write: [`own-${number}.txt`, `${number} more\n`] }, { say: `Said by ${number} again.` }]],
      ]),
    );

    async function runAll(repositoryUrl: string): Promise<Run[]> {
      const client = await line.serve(script);
      const created = await Promise.all(
        numbers.map((number) => client.runs.create({ task: `[[first${number}]] Write ${number}`, repositoryUrl })),
      );
      return Promise.all(created.map(({ id }) => client.runs.waitForEnd(id)));
    }

    /** Each branch is the base with this run's change, and the base is where it was. */
    function expectOwnChanges(repository: string, runs: readonly Run[], base: string): void {
      expect(new Set(runs.map(({ result }) => result?.headBranch)).size).toBe(RUNS);
      for (const [number, { id, result, status, error }] of runs.entries()) {
        const branch = `runyard/${id}`;
        expect({ number, status, error, branch: result?.headBranch }).toEqual({ number, status: "completed", error: null, branch });
        expect(gitIn(repository, "rev-parse", branch, `${branch}^`).split("\n")).toEqual([result?.headCommit, base]);
        expect(gitIn(repository, "diff", "--name-status", base, branch).split("\n")).toEqual([`A\town-${number}.txt`, "A\tshared.txt"]);
        expect(gitIn(repository, "show", `${branch}:shared.txt`)).toBe(`run ${number}`);
        expect(gitIn(repository, "show", `${branch}:own-${number}.txt`)).toBe(String(number));
      }
      expect(gitIn(repository, "for-each-ref", "--format=%(refname)").split("\n")).toHaveLength(RUNS + 1);
      expect(gitIn(repository, "rev-parse", "main")).toBe(base);
      expect(gitIn(repository, "fsck", "--strict", "--no-dangling")).toBe("");
    }

    test("in a repository on this machine", async () => {
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "at-once");
      gitIn(repository, "config", "core.logAllRefUpdates", "always");
      const base = gitIn(repository, "rev-parse", "main");
      const runs = await runAll(repository);
      expectOwnChanges(repository, runs, base);
      for (const { id, result } of runs) {
        const log = readFileSync(path.join(repository, ".git/logs/refs/heads/runyard", id), "utf8")
          .trim()
          .split("\n");
        expect(log.map((entry) => entry.split(" ").slice(0, 2))).toEqual([[NO_COMMIT, result?.headCommit]]);
      }
      expect(gitIn(repository, "status", "--porcelain")).toBe("");
    }, 590_000);

    test("in one on another machine, with fifty pull requests, and on from there", async () => {
      const hook = path.join(bare, "hooks/pre-receive");
      mkdirSync(path.dirname(hook), { recursive: true });
      writeFileSync(hook, `#!/bin/sh\nwhile read -r line; do echo "$line" >>'${pushes}'; done\n`, { mode: 0o755 });
      const base = gitIn(bare, "rev-parse", "main");
      const runs = await runAll(lab.repositoryUrl);
      expectOwnChanges(bare, runs, base);
      const pushed = (): string[] => readFileSync(pushes, "utf8").trim().split("\n").toSorted();
      const first = runs.map(({ id, result }) => `${NO_COMMIT} ${result?.headCommit} refs/heads/runyard/${id}`);
      expect(pushed()).toEqual(first.toSorted());

      expect(lab.github.pulls).toHaveLength(RUNS);
      for (const [number, { id, pullRequestUrl }] of runs.entries()) {
        const pull = lab.github.pulls.find(({ head }) => head === `runyard/${id}`);
        expect(pullRequestUrl).toBe(`${lab.git.url}/acme/app/pull/${pull?.number}`);
        expect(pull?.title).toBe(`[[first${number}]] Write ${number}`);
        expect(pull?.body?.match(/run_\w+/g)?.filter((name) => name !== id)).toEqual([]);
        expect(pull?.body).toContain(`> Said by ${number}.`);
        expect(pull?.body).toContain(`own-${number}.txt`);
      }

      const going = runs.slice(0, 10);
      await Promise.all(going.map(({ id }, number) => line.client.runs.continue(id, `[[more${number}]] More`)));
      const seconds = await Promise.all(going.map(({ id }) => line.client.runs.waitForEnd(id)));
      const second = seconds.map(({ id, result }, number) => {
        expect(result?.headBranch).toBe(`runyard/${id}`);
        return `${runs[number]?.result?.headCommit} ${result?.headCommit} refs/heads/runyard/${id}`;
      });
      // Forwards only: each goes on from what was there.
      expect(pushed()).toEqual([...first, ...second].toSorted());
      for (const entry of second) gitIn(bare, "merge-base", "--is-ancestor", ...entry.split(" ").slice(0, 2));
      expect(lab.github.pulls).toHaveLength(RUNS);
    }, 590_000);
  },
);
