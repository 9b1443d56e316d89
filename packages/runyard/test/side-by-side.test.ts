// Several runs on one repository at the same time: none sees, records or publishes anything of another.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Run } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { PINNED_AGENTS, realAgents, scriptedProviders } from "../src/testing/real-agents.ts";
import { type ModelStep, SCRIPTED_USAGE } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const AGENTS = await realAgents(["opencode", "codex"]);
const unavailable = process.env["RUNYARD_TEST_FULL"]
  ? (await sandboxDriver("bwrap").probe()).reason
  : "only in the full tests (npm run test:full)";
const RUNS = 10;

/** A word that stands in everything of one run and in nothing of another. */
const wordOf = (name: string): string => `quince-of-${name}-only`;
const CALLS = 4;

describe.skipIf(unavailable !== null)(
  unavailable === null ? "side by side" : `runs side by side cannot be tested: ${unavailable}`,
  { timeout: 300_000 },
  () => {
    const line = useLine({ env: (model) => ({ ...PINNED_AGENTS, ...scriptedProviders(model) }) });

    /** One run for each name, all of them in the middle of their turns before any goes on. */
    async function runAll(runs: readonly { readonly name: string; readonly profile: string }[], repository: string): Promise<Run[]> {
      let open = (): void => undefined;
      const until = new Promise<void>((resolve) => (open = resolve));
      const steps = (name: string): ModelStep[] => [
        { write: [`${wordOf(name)}.txt`, `${wordOf(name)}\n`] },
        { until, edit: ["shared.txt", "nobody", wordOf(name)] },
        {
          run: `ls; seq 1 ${name.length}000; cat *.txt; env | sort; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' ' '; echo ${wordOf(name)}`,
        },
        { say: `Done: ${wordOf(name)}.` },
      ];
      const client = await line.serve(Object.fromEntries(runs.map(({ name }) => [name, steps(name)])));
      const created = await Promise.all(
        runs.map(({ name, profile }) =>
          client.runs.create({
            task: `[[${name}]] Write ${wordOf(name)}`,
            repositoryUrl: repository,
            agent: { profile },
            model: "scripted-1",
            budget: { tokens: 1_000_000 },
          }),
        ),
      );
      while (line.model.requests.filter(({ step }) => step === 1).length < runs.length) await sleep(50);
      open();
      return Promise.all(created.map(({ id }) => client.runs.waitForEnd(id)));
    }

    async function checkApart(runs: readonly { readonly name: string }[], ended: readonly Run[], repository: string): Promise<void> {
      for (const [index, { name }] of runs.entries()) {
        const run = ended[index] as Run;
        const { id } = run;
        expect(run, name).toMatchObject({
          status: "completed",
          error: null,
          result: { summary: expect.stringContaining(`Done: ${wordOf(name)}.`) as string, filesChanged: 2 },
          usage: { modelCalls: CALLS, failedModelCalls: 0, inputTokens: CALLS * SCRIPTED_USAGE.inputTokens },
          budget: { spentTokens: CALLS * (SCRIPTED_USAGE.inputTokens + SCRIPTED_USAGE.outputTokens) },
        });
        expect(gitIn(repository, "ls-tree", "--name-only", `runyard/${id}`).split("\n")).toEqual([`${wordOf(name)}.txt`, "shared.txt"]);
        expect(gitIn(repository, "show", `runyard/${id}:shared.txt`)).toBe(wordOf(name));
        expect(gitIn(repository, "log", "--format=%s", `runyard/${id}`).split("\n")).toHaveLength(2);

        const { data } = await line.client.runs.exchanges(id);
        const bodies = data.flatMap((exchange) => (["request", "response"] as const).map((side) => ({ id: exchange.id, side })));
        expect(bodies).toHaveLength(2 * CALLS);
        const kept = await Promise.all(bodies.map((body) => line.client.runs.exchangeBytes(id, body.id, body.side)));
        const everything = [
          JSON.stringify(await readLog(line.client, id)),
          kept.map((bytes) => Buffer.from(bytes).toString()).join("\n"),
          gitIn(repository, "log", "--patch", `main..runyard/${id}`),
        ];
        for (const text of everything) {
          expect(text).toContain(wordOf(name));
          for (const other of runs)
            if (other !== runs[index]) expect(text.includes(wordOf(other.name)), `${other.name} in ${name}`).toBe(false);
        }
      }
    }

    const missing = AGENTS.find(({ reason }) => reason !== null)?.reason;
    test.skipIf(missing !== undefined)(
      `three agents work on one repository and know nothing of each other${missing === undefined ? "" : ` (not tested: ${missing})`}`,
      async () => {
        const repository = makeRepository(line.home.root, { "shared.txt": "nobody\n" }, "three");
        const runs = ["opencode", "codex", "builtin"].map((name) => ({ name, profile: name }));
        const ended = await runAll(runs, repository);
        expect(ended.map(({ status }) => status)).toEqual(["completed", "completed", "completed"]);
        await checkApart(runs, ended, repository);
      },
    );

    test(`${RUNS} runs at once stay apart, and the server's memory does not grow with those that it has had`, async () => {
      const repository = makeRepository(line.home.root, { "shared.txt": "nobody\n" }, "many");
      const before = memoryOf(line.server.pid);
      let peak = 0;
      const watch = setInterval(() => (peak = Math.max(peak, memoryOf(line.server.pid))), 50);
      for (const round of [1, 2, 3]) {
        const runs = Array.from({ length: RUNS }, (_, index) => ({ name: `run${round}x${"abcdefghij"[index]}`, profile: "builtin" }));
        await checkApart(runs, await runAll(runs, repository), repository);
      }
      clearInterval(watch);
      const [idle, most] = [before, peak].map((bytes) => Math.round(bytes / 2 ** 20));
      console.info(`memory of the server: ${idle} MiB before, ${most} MiB at most with ${RUNS} runs at once`);
      expect(peak).toBeLessThan(2 * before);
    });
  },
);

/** Resident memory of a process, in bytes. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
