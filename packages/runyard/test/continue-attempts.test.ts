// Later turns and further attempts together: what was checked and found wanting is gone on with, and an
// attempt that breaks in a later turn is followed by one from the last commit of the turns before.
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
/** Calls that the built-in agent makes before it gives a broken provider up. */
const CALLS_OF_ONE_ATTEMPT = 3;

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(unavailable !== null || isShort)(
  isShort ? "whole runs (npm run test:full)" : unavailable === null ? "turns and attempts" : `cannot be tested: ${unavailable}`,
  () => {
    const line = useLine();

    test("a run whose work failed its check is continued in its workspace, and the next turn is checked anew", async () => {
      const client = await line.serve({
        "": [{ write: ["a.txt", "a\n"] }, { say: "Done." }],
        second: [{ run: "test -e a.txt && touch right.txt" }, { say: "Corrected." }],
      });
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "checked");
      const verify = [{ run: "test -e right.txt", kind: "test" as const }];
      const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository, verify, verifyRetries: 0 });
      expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "failed", error: { type: "test-failure" } });
      await client.runs.continue(id, "[[second]] Make it right");
      const run = await client.runs.waitForEnd(id);
      expect(run).toMatchObject({ status: "completed", turn: 2, attempt: 2, error: null });
      expect(run.verifyResults.map((result) => [result.round, result.passed])).toEqual([[1, true]]);
      expect(gitIn(repository, "ls-tree", "--name-only", `runyard/${id}`).split("\n")).toEqual(["README.md", "a.txt", "right.txt"]);
    }, 90_000);

    test("an attempt that breaks in a later turn: the next one has the prompt of that turn, and what was committed", async () => {
      const client = await line.serve({
        "": [{ write: ["one.txt", "one\n"] }, { say: "One." }],
        second: [{ fail: 503, times: CALLS_OF_ONE_ATTEMPT, run: "cat one.txt && echo two >two.txt" }, { say: "Two." }],
      });
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "broken");
      const { id } = await client.runs.create({ task: "Write one", repositoryUrl: repository, settings: { maxRetries: 1 } });
      expect(await client.runs.waitForEnd(id)).toMatchObject({ status: "completed", attempt: 1 });
      await client.runs.continue(id, "[[second]] Now two");
      const run = await client.runs.waitForEnd(id);
      expect(run).toMatchObject({
        status: "completed",
        turn: 2,
        attempt: 3,
        failedAttempts: [{ attempt: 2, error: { type: "network-error" } }],
      });
      expect(gitIn(repository, "ls-tree", "--name-only", `runyard/${id}`).split("\n")).toEqual(["README.md", "one.txt", "two.txt"]);
      const log = await readLog(client, id);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
      expect(log.filter((event) => event.type === "turn.started")).toHaveLength(2);
    }, 120_000);
  },
);
