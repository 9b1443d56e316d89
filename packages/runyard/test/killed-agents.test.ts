// kill -9 of the server, of the gateway, and of both, while a real agent waits for its model: the run goes on with the same
// process, and what was spent stays spent.
import path from "node:path";
import type { RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { controlClient } from "../src/gateway/control-client.ts";
import { homeAt } from "../src/home.ts";
import { identifyProcess } from "../src/process-identity.ts";
import { useLine } from "../src/testing/line.ts";
import { PINNED_AGENTS, realAgents, scriptedProviders } from "../src/testing/real-agents.ts";
import { SCRIPTED_USAGE } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const AGENTS = await realAgents(["opencode", "codex", "gemini", "claude"]);
const TOKENS_OF_CALL = SCRIPTED_USAGE.inputTokens + SCRIPTED_USAGE.outputTokens;

/** Something that a model waits for. */
interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

function gate(): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

describe.skipIf(AGENTS.every(({ reason }) => reason !== null))("killed in the middle of a model call", { timeout: 300_000 }, () => {
  const line = useLine({ env: (model) => ({ ...PINNED_AGENTS, ...scriptedProviders(model) }) });
  const killGateway = async (): Promise<void> => {
    const { gatewayControlSocket } = homeAt(path.join(line.home.root, "home"));
    process.kill((await controlClient(gatewayControlSocket).health()).pid, "SIGKILL");
  };
  /** What dies in the middle of the call whose answer waits, and of how many calls nobody knows the end then. */
  const BLOWS: readonly [string, (answer: Gate) => Promise<void>, number][] = [
    [
      "the server",
      async (answer) => {
        await line.server.kill();
        answer.open();
        await line.restart();
      },
      0,
    ],
    [
      "the gateway",
      async (answer) => {
        await killGateway();
        answer.open();
      },
      1,
    ],
    [
      "both",
      async (answer) => {
        await line.server.kill();
        await killGateway();
        answer.open();
        await line.restart();
      },
      1,
    ],
  ];

  for (const { name, reason } of AGENTS)
    describe.skipIf(reason !== null)(`${name}${reason === null ? "" : ` (not tested: ${reason})`}`, () => {
      test.each(BLOWS)("%s", async (what, blow, lost) => {
        const [second, last] = [gate(), gate()];
        const client = await line.serve([
          { write: ["one.txt", "one\n"] },
          { until: second.opened, write: ["two.txt", "two\n"] },
          { until: last.opened, say: "Done." },
        ]);
        const repositoryUrl = makeRepository(line.home.root, { "README.md": "# demo\n" }, `${name}-${what}`.replace(" ", "-"));
        const agent = { profile: name };
        const { id } = await client.runs.create({
          task: "Write two files",
          repositoryUrl,
          agent,
          model: "scripted-1",
          budget: { tokens: 10_000_000 },
        });
        await expect.poll(() => line.model.requests.some(({ step }) => step === 1), { timeout: 60_000 }).toBe(true);
        const seen: RunEvent[] = [];
        for await (const event of client.runs.events(id)) {
          seen.push(event as RunEvent);
          if (event.type === "usage.updated") break;
        }
        const pid = seen.flatMap((event) => (event.type === "agent.started" ? [event.data.pid ?? 0] : []))[0] ?? 0;
        const agentProcess = identifyProcess(pid);
        expect(agentProcess).not.toBeNull();
        await blow(second);

        await expect.poll(() => line.model.requests.some(({ step }) => step === 2), { timeout: 120_000 }).toBe(true);
        expect(identifyProcess(pid)).toEqual(agentProcess);
        last.open();
        const run = await line.client.runs.waitForEnd(id);
        expect(run).toMatchObject({
          status: "completed",
          attempt: 1,
          error: null,
          result: { summary: expect.stringMatching(/Done\.$/) as string },
        });
        expect(gitIn(repositoryUrl, "ls-tree", "--name-only", `runyard/${id}`).split("\n")).toEqual(["README.md", "one.txt", "two.txt"]);
        const log = await readLog(line.client, id);
        expect(log.slice(0, seen.length)).toEqual(seen);
        expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
        expect(log.filter((event) => event.type === "agent.started")).toHaveLength(1);

        const { calls } = await line.client.runs.usage(id);
        expect(calls.filter(({ ok }) => ok)).toHaveLength(3);
        expect(calls.map(({ status }) => status)).toEqual([200, ...Array.from({ length: lost }, () => null), 200, 200]);
        // What the call that nobody knows the end of may have taken, is spent.
        const spent = run.budget?.spentTokens ?? 0;
        if (lost === 0) expect(spent).toBe(3 * TOKENS_OF_CALL);
        else expect(spent).toBeGreaterThan(6 * TOKENS_OF_CALL);
        expect(JSON.stringify(log)).not.toContain("sk-decoy");
      });
    });
});
