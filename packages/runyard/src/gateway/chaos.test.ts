import { expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import { livingLives } from "./lives.ts";
import { call, QUESTION, type RawAnswer, until } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { beginStream, delta, DONE, FINISH, openaiAt, USAGE_EVENT, useProviders } from "./testing/provider.ts";

const { newHost } = useHosts();
const startProvider = useProviders();
const STREAMED = { ...QUESTION, stream: true };
const PIECES = Array.from({ length: 10 }, (_, piece) => delta(`${piece} `));
const WHOLE = PIECES.join("") + FINISH + DONE;

/** A gateway with a provider that takes about 30 ms for an answer, and runs that call it without a pause. */
async function startCallers(
  host: TestHost,
  count: number,
): Promise<{ gateway: Gateway; runs: ReturnType<typeof newRun>[]; answers: (RawAnswer | Error)[]; stop(): Promise<void> }> {
  const provider = await startProvider(async (_, response) => {
    beginStream(response);
    for (const piece of PIECES) {
      response.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    response.end(FINISH + USAGE_EVENT + DONE);
  });
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: "sk-test-chaos-1234567890", model: "gpt-x" })]);
  const runs = Array.from({ length: count }, newRun);
  for (const run of runs) await gateway.openRun(run);
  const answers: (RawAnswer | Error)[] = [];
  let calling = true;
  const callers = runs.map(async ({ token }) => {
    while (calling) {
      const answer = await call(gateway, { token, body: STREAMED }).catch((error: unknown) => error as Error);
      answers.push(answer);
      if (answer instanceof Error) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  return {
    gateway,
    runs,
    answers,
    async stop() {
      calling = false;
      await Promise.all(callers);
    },
  };
}

/** Every call that was begun has one end, behind its beginning; returns how many ended well. */
function checkJournals(host: TestHost, runs: readonly { runId: string }[]): number {
  return runs.reduce((good, { runId }) => {
    const lines = host.lines(runId);
    const places = (type: string): Map<string, number> =>
      new Map(lines.map((line, place) => [line.id, line.type === type ? place : -1] as const).filter(([, place]) => place >= 0));
    const opens = places("open");
    const closes = places("close");
    expect(lines).toHaveLength(opens.size + closes.size);
    expect([...closes.keys()].toSorted()).toEqual([...opens.keys()].toSorted());
    expect([...closes].filter(([id, place]) => place < (opens.get(id) ?? Infinity))).toEqual([]);
    return good + host.closes(runId).filter((close) => close.ok).length;
  }, 0);
}

test("10 kills at any moment: every call has one end in the journal, and no answer is taken for whole that is not", async () => {
  const host = newHost();
  const { gateway, runs, answers, stop } = await startCallers(host, 6);
  for (let kill = 0; kill < 10; kill += 1) {
    const before = answers.length;
    await until(() => answers.slice(before).some((answer) => !(answer instanceof Error) && answer.complete), "calls to succeed");
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 50));
    process.kill((await gateway.health()).pid, "SIGKILL");
    await expect
      .poll(
        async () =>
          await gateway.health().then(
            () => true,
            () => false,
          ),
      )
      .toBe(true);
  }
  await stop();

  const whole = answers.filter((answer) => !(answer instanceof Error) && answer.complete && answer.status === 200) as RawAnswer[];
  expect(whole.every((answer) => answer.body === WHOLE)).toBe(true);
  const cut = answers.filter((answer) => answer instanceof Error || !answer.complete);
  expect(cut.length).toBeGreaterThan(0);
  // An answer whose end was journalled may still have been cut on its last way to the client.
  expect(checkJournals(host, runs)).toBeGreaterThanOrEqual(whole.length);
  expect(answers.filter((answer) => !(answer instanceof Error) && answer.complete && answer.status !== 200)).toEqual([]);
});

test("6 hand-overs under load: no call notices", async () => {
  const host = newHost();
  const { runs, answers, stop } = await startCallers(host, 6);
  let pid = 0;
  for (const mark of ["b", "c", "b", "c", "b", "c"]) {
    const gateway = await host.open({ mark });
    const health = await gateway.health();
    expect(health.pid).not.toBe(pid);
    pid = health.pid;
    gateway.close();
    const before = answers.length;
    await until(() => answers.length > before + 10, "more calls");
  }
  await stop();
  expect(answers.filter((answer) => answer instanceof Error || !answer.complete || answer.body !== WHOLE)).toEqual([]);
  expect(checkJournals(host, runs)).toBe(answers.length);
  await until(() => livingLives(host.home.gatewayDir).length === 1, "the old gateways to leave");
});
