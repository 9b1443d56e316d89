import type { ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { createPacer } from "./pacing.ts";
import { call, QUESTION } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { answerWell, openaiAt, sendJson, type SeenRequest, type TestProvider, useProviders } from "./testing/provider.ts";
import { urlBelow } from "./upstream.ts";

const { shared } = useHosts();
const startProvider = useProviders();

function busy(response: ServerResponse, headers: Record<string, string>, status = 429): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  sendJson(response, status, { error: { message: "Slow down." } });
}

/** A provider that is busy for its first answers. */
async function busyFor(count: number, headers: Record<string, string>, status = 429): Promise<TestProvider> {
  let answered = 0;
  return await startProvider((request, response) => {
    answered += 1;
    if (answered <= count) return busy(response, headers, status);
    return answerWell(request, response);
  });
}

async function openWith(provider: TestProvider): Promise<{ host: TestHost; runId: string; ask(): ReturnType<typeof call> }> {
  const { host, gateway } = await shared();
  // Of a name that no other test's provider has: the pace is the provider's.
  const name = `p${provider.baseUrl.replaceAll(/\D/g, "")}`;
  await gateway.setProviders([{ ...openaiAt({ baseUrl: provider.baseUrl, apiKey: "sk-test-pacing-123456", model: "m" }), name }]);
  const run = newRun();
  await gateway.openRun(run);
  return { host, runId: run.runId, ask: () => call(gateway, { token: run.token, body: { ...QUESTION, stream: true } }) };
}

test.each<[string, number, Record<string, string>]>([
  ["seconds", 429, { "retry-after": "0.01" }],
  ["milliseconds", 529, { "retry-after-ms": "10" }],
  ["a date", 429, { "retry-after": new Date(0).toUTCString() }],
])("a provider that is busy for a time that it tells in %s is asked again, and the agent does not notice", async (_, status, headers) => {
  const provider = await busyFor(2, headers, status);
  const { host, runId, ask } = await openWith(provider);
  expect(await ask()).toMatchObject({ status: 200, complete: true });
  expect(provider.seen).toHaveLength(3);
  expect(new Set(provider.seen.map((request: SeenRequest) => request.text)).size).toBe(1);
  expect(host.lines(runId)).toMatchObject([{ type: "open" }, { type: "close", ok: true, tries: 3, inputTokens: 1_200 }]);
});

test("one that stays busy is asked three times, and then the agent is told", async () => {
  const provider = await busyFor(9, { "retry-after-ms": "1" });
  const { host, runId, ask } = await openWith(provider);
  expect(await ask()).toMatchObject({ status: 429, headers: { "retry-after-ms": "1" }, body: expect.stringContaining("Slow down.") });
  expect(provider.seen).toHaveLength(3);
  expect(host.closes(runId)).toMatchObject([{ status: 429, ok: false, tries: 3, error: "Slow down." }]);
});

test.each<[string, number, Record<string, string>]>([
  ["busy for longer than a minute", 429, { "retry-after": "61" }],
  ["busy for a time that it does not tell", 429, {}],
  ["busy for a time that makes no sense", 429, { "retry-after": "soon" }],
  ["broken, whenever it says to come again", 500, { "retry-after": "0" }],
])("one that is %s is not asked again", async (_, status, headers) => {
  const provider = await busyFor(1, headers, status);
  const { host, runId, ask } = await openWith(provider);
  expect(await ask()).toMatchObject({ status });
  expect(provider.seen).toHaveLength(1);
  expect(host.closes(runId)).toMatchObject([{ status, ok: false, tries: 1 }]);
});

/** A pacer's call of a provider, to the answer's status. */
function pacedCalls(provider: TestProvider, now?: () => number): { pace(signal?: AbortSignal): Promise<number | undefined> } {
  const pacer = createPacer(now);
  return {
    async pace(signal = new AbortController().signal) {
      const url = urlBelow(provider.baseUrl, "/x");
      const answer = await pacer.call("p", { method: "POST", url, headers: {}, body: Buffer.from("{}"), signal, way: {} });
      answer.resume();
      return answer.statusCode;
    },
  };
}

test("while a provider is busy, others' calls wait too, and then set out one by one", async () => {
  const at: number[] = [];
  const provider = await startProvider((_, response) => {
    at.push(performance.now());
    return at.length === 1 ? busy(response, { "retry-after-ms": "400" }) : sendJson(response, 200, {});
  });
  const { pace } = pacedCalls(provider);
  const first = pace();
  await expect.poll(() => at.length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const others = [pace(), pace()];
  expect(await Promise.all([first, ...others])).toEqual([200, 200, 200]);
  const [busyAt = 0, ...later] = at;
  expect(later).toHaveLength(3);
  // A timer may be early by a millisecond.
  for (const time of later) expect(time - busyAt).toBeGreaterThan(398);
  for (const [index, time] of later.slice(1).entries()) expect(time - (later[index] ?? 0)).toBeGreaterThan(50);
});

test("a call whose run ends while it waits for its turn is not made", async () => {
  const provider = await busyFor(1, { "retry-after": "30" });
  const { pace } = pacedCalls(provider);
  const abort = new AbortController();
  const waiting = pace(abort.signal);
  await expect.poll(() => provider.seen.length).toBe(1);
  abort.abort(new Error("The run was ended."));
  await expect(waiting).rejects.toThrow("The run was ended.");
  expect(provider.seen).toHaveLength(1);
});

test("when a provider has not been busy for a while, nothing is spaced any more", async () => {
  let now = 0;
  const provider = await busyFor(1, { "retry-after-ms": "0" });
  const { pace } = pacedCalls(provider, () => now);
  expect(await pace()).toBe(200);
  now += 20_000;
  expect(await Promise.all([pace(), pace(), pace()])).toEqual([200, 200, 200]);
  expect(provider.seen).toHaveLength(5);
});
