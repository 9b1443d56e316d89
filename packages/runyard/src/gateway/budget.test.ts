import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Gateway } from "./client.ts";
import type { PriceTable, RegisteredRun, RunBudget } from "./protocol.ts";
import { call, QUESTION, type RawAnswer, until } from "./testing/caller.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import {
  beginStream,
  delta,
  DONE,
  FINISH,
  openaiAt,
  type SeenRequest,
  sendJson,
  type TestProvider,
  useProviders,
} from "./testing/provider.ts";

// What a run may spend, kept by the gateway against real sockets. A token of input costs 1,000 nano US dollars, one of output 5,000.
const { shared, newHost } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-budget-1234567890";
const PRICES: PriceTable = { m: { inputUsdPerMillion: 1, outputUsdPerMillion: 5 } };
const IN = 1_000;
const OUT = 5_000;
const USD = 1_000_000_000;

const limitOf = (request: SeenRequest): number => Number(request.body["max_tokens"] ?? 0);
const reason = (answer: RawAnswer): string => (JSON.parse(answer.body) as { error: { code: string } }).error.code;
const words = (answer: RawAnswer): string => (JSON.parse(answer.body) as { error: { message: string } }).error.message;
const budget = (change: Partial<RunBudget>): RunBudget => ({
  nanoUsd: null,
  tokens: null,
  spentNanoUsd: 0,
  spentTokens: 0,
  readTo: 0,
  isShare: false,
  ...change,
});

/** Answers with so many tokens of input and output. */
function answerWith(
  response: Parameters<Parameters<typeof startProvider>[0]>[1],
  used: { input: number; output: number; finish?: string },
): void {
  sendJson(response, 200, {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "x" }, finish_reason: used.finish ?? "stop" }],
    usage: { prompt_tokens: used.input, completion_tokens: used.output, total_tokens: used.input + used.output },
  });
}

async function open(
  provider: TestProvider,
  run: RunBudget,
  at?: { host: TestHost; gateway: Gateway },
): Promise<{ host: TestHost; gateway: Gateway; run: RegisteredRun }> {
  const { host, gateway } = at ?? (await shared());
  await gateway.setProviders([{ ...openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" }), prices: PRICES }]);
  const registered = { ...newRun(), budget: run };
  await gateway.openRun(registered);
  return { host, gateway, run: registered };
}

const spent = (host: TestHost, runId: string): number => host.closes(runId).reduce((sum, { countedNanoUsd }) => sum + countedNanoUsd, 0);

test("a call has its cost in the journal, whether its run has a budget or not", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 1_000, output: 10 }));
  const { host, gateway } = await open(provider, budget({ tokens: 100_000 }));
  const free = newRun();
  await gateway.openRun(free);
  await call(gateway, { token: free.token });
  expect(host.lines(free.runId)).toMatchObject([
    { type: "open", reservedNanoUsd: null, reservedTokens: null },
    { type: "close", provider: "openai", model: "m", costNanoUsd: 1_050_000, countedNanoUsd: 1_050_000, countedTokens: 1_010 },
  ]);
  // Nobody asked for a limit, and nobody else puts one in.
  expect(provider.seen[0]?.body).not.toHaveProperty("max_tokens");
});

test("20 calls that race for the last cent, each using all that it may, never pass the budget", async () => {
  const provider = await startProvider(async (request, response) => {
    await sleep(5);
    answerWith(response, { input: 500, output: limitOf(request), finish: "length" });
  });
  const cap = 40_000 * OUT;
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: cap }));
  const body = { ...QUESTION, max_tokens: 3_000 };
  const answers = await Promise.all(Array.from({ length: 20 }, () => call(gateway, { token: run.token, body })));
  const good = answers.filter(({ status }) => status === 200);
  expect(good.length).toBeGreaterThan(8);
  expect(answers.filter(({ status }) => status === 402).length).toBe(20 - good.length);
  expect(spent(host, run.runId)).toBeLessThanOrEqual(cap);
  // What is left is less than the shortest answer needs.
  expect(cap - spent(host, run.runId)).toBeLessThan(3_500 * OUT);
  expect(host.budgetLines(run.runId)).toHaveLength(1);
});

test("an answer is cut to what is left, and that is journalled; then every call is refused, also a shorter one", async () => {
  const provider = await startProvider((request, response) =>
    answerWith(response, { input: 900, output: limitOf(request), finish: "length" }),
  );
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: 3_000 * IN + 200 * OUT }));
  expect(await call(gateway, { token: run.token, body: { ...QUESTION, max_tokens: 5_000 } })).toMatchObject({ status: 200 });
  const limit = limitOf(provider.seen[0] as SeenRequest);
  expect(limit).toBeGreaterThan(200);
  expect(limit).toBeLessThan(800);
  const [open_] = host.lines(run.runId);
  expect(host.budgetLines(run.runId)).toMatchObject([{ exchangeId: open_?.id, nanoUsd: 3_000 * IN + 200 * OUT, tokens: null }]);
  const refused = await call(gateway, { token: run.token, body: { ...QUESTION, max_tokens: 1 } });
  expect(refused).toMatchObject({ status: 402, headers: { "x-should-retry": "false" } });
  expect(reason(refused)).toBe("budget_exceeded");
  expect(words(refused)).toMatch(
    /^The run's budget of \$0\.004 is used up: \$0\.0038 are spent\. Stop here: every further call is refused\.$/,
  );
  expect(provider.seen).toHaveLength(1);
});

test("a budget of less than the first call refuses it in words", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 1, output: 1 }));
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: 1_000 * IN }));
  const refused = await call(gateway, { token: run.token });
  expect(refused.status).toBe(402);
  expect(words(refused)).toMatch(
    /^The run's budget of \$0\.001 is used up: \$0\.00 are spent, and the next model call may take \$0\.0011\./,
  );
  expect(provider.seen).toHaveLength(0);
  expect(host.budgetLines(run.runId)).toMatchObject([{ exchangeId: null, spentNanoUsd: 0 }]);
});

test("a call that is told to cost more than anybody has is journalled, counts, and ends the budget", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 1_000_000_000, output: 1_000_000_000 }));
  const { host, gateway } = await shared();
  const prices: PriceTable = { m: { inputUsdPerMillion: 1_000_000, outputUsdPerMillion: 1_000_000 } };
  await gateway.setProviders([{ ...openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" }), prices }]);
  const run = { ...newRun(), budget: budget({ nanoUsd: 1_000_000 * USD }) };
  await gateway.openRun(run);
  const body = { ...QUESTION, max_tokens: 100 };
  expect((await call(gateway, { token: run.token, body })).status).toBe(200);
  expect(host.closes(run.runId)).toMatchObject([{ ok: true, countedNanoUsd: 1_000_000 * USD }]);
  expect((await call(gateway, { token: run.token, body })).status).toBe(402);
});

test("a budget of tokens is kept without a price", async () => {
  const provider = await startProvider((request, response) =>
    answerWith(response, { input: 400, output: limitOf(request), finish: "length" }),
  );
  const { host, gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" })]);
  const run = { ...newRun(), budget: budget({ tokens: 3_000 }) };
  await gateway.openRun(run);
  expect((await call(gateway, { token: run.token, body: { ...QUESTION, max_tokens: 100 } })).status).toBe(200);
  expect((await call(gateway, { token: run.token, body: { ...QUESTION, max_tokens: 9_000 } })).status).toBe(200);
  const used = host.closes(run.runId).reduce((sum, close) => sum + (close.inputTokens ?? 0) + (close.outputTokens ?? 0), 0);
  expect(used).toBeLessThanOrEqual(3_000);
  expect((await call(gateway, { token: run.token })).status).toBe(402);
});

test("a budget in dollars is refused where nobody knows the price", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 1, output: 1 }));
  const { gateway } = await shared();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-4o" })]);
  const run = { ...newRun(), budget: budget({ nanoUsd: 5 * USD }) };
  await gateway.openRun(run);
  const refused = await call(gateway, { token: run.token });
  expect([refused.status, reason(refused)]).toEqual([402, "price_unknown"]);
  expect(words(refused)).toContain("nobody knows what the model gpt-4o costs at the provider openai. Give the run a budget of tokens");
  expect(provider.seen).toHaveLength(0);
});

test("a provider that does not keep to its limit is cut off in the middle", async () => {
  const provider = await startProvider(async (_, response) => {
    beginStream(response);
    for (let piece = 0; piece < 20_000 && !response.destroyed; piece += 1) {
      response.write(delta("word "));
      if (piece % 100 === 0) await sleep(1);
    }
    if (!response.destroyed) response.end(FINISH + DONE);
  });
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: 2_000 * IN + 1_000 * OUT }));
  const answer = await call(gateway, { token: run.token, body: { ...QUESTION, stream: true, max_tokens: 1_000 } });
  expect(answer.complete).toBe(false);
  expect(answer.body).toContain("beyond what is left of the run's budget");
  expect(host.closes(run.runId)).toMatchObject([{ ok: false, complete: false, costNanoUsd: null }]);
  expect(host.budgetLines(run.runId)).toHaveLength(1);
  const sent = answer.body.split("word ").length - 1;
  expect(sent).toBeGreaterThan(1_000);
  expect(sent).toBeLessThan(5_000);
  // What was seen of it counts, at least what was set aside.
  expect(spent(host, run.runId)).toBeGreaterThan(1_000 * OUT);
});

test("calls wait for what others hold, instead of being cut short or refused", async () => {
  const held: (() => void)[] = [];
  const provider = await startProvider(async (_, response) => {
    await new Promise<void>((resolve) => held.push(resolve));
    answerWith(response, { input: 100, output: 10 });
  });
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: 3_000 * IN + 1_000 * OUT }));
  const body = { ...QUESTION, max_tokens: 1_000 };
  const first = call(gateway, { token: run.token, body });
  await until(() => held.length === 1, "the first call");
  const second = call(gateway, { token: run.token, body });
  await sleep(300);
  expect(provider.seen).toHaveLength(1);
  held[0]?.();
  expect(await first).toMatchObject({ status: 200 });
  await until(() => held.length === 2, "the second call");
  held[1]?.();
  expect(await second).toMatchObject({ status: 200 });
  expect(provider.seen.map((seen) => seen.body["max_tokens"])).toEqual([1_000, 1_000]);
  expect(host.budgetLines(run.runId)).toEqual([]);
});

test("a client that says no limit gets the longest that the model has, and the gateway remembers it", async () => {
  const provider = await startProvider((request, response) =>
    limitOf(request) > 10_000
      ? sendJson(response, 400, { error: { message: "max_tokens is too large" } })
      : answerWith(response, { input: 100, output: 10 }),
  );
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: USD }));
  expect((await call(gateway, { token: run.token })).status).toBe(200);
  expect((await call(gateway, { token: run.token })).status).toBe(200);
  expect(provider.seen.map(limitOf)).toEqual([32_768, 16_384, 8_192, 8_192]);
  // One call each, whatever the gateway had to ask.
  expect(host.closes(run.runId)).toMatchObject([{ ok: true }, { ok: true }]);
});

test("what a provider refuses costs nothing, and what broke off counts all that was set aside for it", async () => {
  const provider = await startProvider((request, response) => {
    if (provider.seen.length === 1) return sendJson(response, 429, { error: { message: "too many" } });
    beginStream(response);
    response.write(delta("a"), () => response.destroy());
    return undefined;
  });
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: USD }));
  const body = { ...QUESTION, stream: true, max_tokens: 100 };
  await call(gateway, { token: run.token, body });
  await call(gateway, { token: run.token, body });
  const [refused, broken] = host.closes(run.runId);
  expect(refused).toMatchObject({ status: 429, costNanoUsd: 0, countedNanoUsd: 0, countedTokens: 0 });
  expect(broken).toMatchObject({ complete: false, costNanoUsd: null });
  const opened = host.lines(run.runId).filter((line) => line.type === "open");
  expect(broken?.countedNanoUsd).toBe(opened[1]?.reservedNanoUsd);
  expect(broken?.countedNanoUsd).toBeGreaterThan(100 * OUT + 1_024 * IN);
});

test("kill -9 in the middle of a call: what was set aside for it stays spent", async () => {
  const provider = await startProvider(async (request, response) => {
    if (provider.seen.length > 1) return answerWith(response, { input: 100, output: 10 });
    beginStream(response);
    response.write(delta("a"));
    return undefined;
  });
  const host = newHost();
  const gateway = await host.open();
  const { run } = await open(provider, budget({ nanoUsd: 3_000 * IN + 1_000 * OUT }), { host, gateway });
  const body = { ...QUESTION, stream: true, max_tokens: 1_000 };
  const { pid } = await gateway.health();
  const broken = call(gateway, { token: run.token, body }).catch(() => null);
  await until(() => provider.seen.length === 1, "the call");
  process.kill(pid, "SIGKILL");
  await broken;
  // The server tells the next gateway what it told the first: that the run has spent nothing.
  const answer = await untilAnswer(() => call(gateway, { token: run.token, body: { ...QUESTION, max_tokens: 1_000 } }));
  const [lost] = host.closes(run.runId);
  expect(lost).toMatchObject({ settled: "estimate", costNanoUsd: null });
  expect(lost?.countedNanoUsd).toBeGreaterThan(1_000 * OUT);
  expect(answer.status).toBe(200);
  // All but the reservation was left: less than was asked for.
  expect(limitOf(provider.seen[1] as SeenRequest)).toBeLessThan(1_000);
});

/** An answer of a gateway that is just being brought back. */
async function untilAnswer(ask: () => Promise<RawAnswer>): Promise<RawAnswer> {
  for (;;) {
    const answer = await ask().catch(() => null);
    if (answer !== null && answer.status !== 503) return answer;
    await sleep(20);
  }
}

test("what was spent on other hosts counts here, once", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 100, output: 10 }));
  const told = budget({ nanoUsd: 100_000 * OUT, spentNanoUsd: 40_000 * OUT, spentTokens: 7 });
  const { host, gateway, run } = await open(provider, told);
  const body = { ...QUESTION, max_tokens: 100 };
  await call(gateway, { token: run.token, body });
  // The same again, as after a restart of the server; then more, of which the journal here holds a part.
  await gateway.openRun(run);
  await call(gateway, { token: run.token, body });
  const here = spent(host, run.runId);
  const more = { ...told, spentNanoUsd: 99_000 * OUT + here, readTo: 100_000 };
  await gateway.openRun({ ...run, budget: more });
  expect((await call(gateway, { token: run.token, body: { ...QUESTION, max_tokens: 9_000 } })).status).toBe(200);
  expect(limitOf(provider.seen[2] as SeenRequest)).toBeLessThan(1_000);
});

test("a bigger budget goes on where a smaller one ended", async () => {
  const provider = await startProvider((request, response) => answerWith(response, { input: 100, output: limitOf(request) }));
  const { gateway, run } = await open(provider, budget({ nanoUsd: 1_500 * IN }));
  const body = { ...QUESTION, max_tokens: 100 };
  await call(gateway, { token: run.token, body });
  expect((await call(gateway, { token: run.token, body })).status).toBe(402);
  await gateway.openRun({ ...run, budget: budget({ nanoUsd: 100_000 * IN }) });
  expect((await call(gateway, { token: run.token, body })).status).toBe(200);
});

test("a long conversation is bounded by what was counted before, not by all of its bytes again", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 5_000, output: 10 }));
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: 100_000 * IN }));
  const messages = [{ role: "user", content: "word ".repeat(10_000) }];
  const tools = [{ type: "function", function: { name: "read", parameters: { properties: { file_id: { type: "file" } } } } }];
  const ask = async (body: object): Promise<void> =>
    expect(await call(gateway, { token: run.token, body: { ...body, tools, max_tokens: 10 } })).toMatchObject({ status: 200 });
  await ask({ ...QUESTION, messages });
  await ask({ ...QUESTION, messages: [...messages, { role: "assistant", content: "Said." }, { role: "user", content: "More?" }] });
  const [first, second] = host.lines(run.runId).filter((line) => line.type === "open");
  expect(first?.reservedTokens).toBeGreaterThan(50_000);
  expect(second?.reservedTokens).toBeLessThan(5_500);
});

test.each([
  ["a file", { messages: [{ role: "user", content: [{ type: "file", file: { file_data: "data:application/pdf;base64,AAAA" } }] }] }],
  ["sound", { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "AAAA" } }] }] }],
  ["several answers", { ...QUESTION, n: 2 }],
])("%s cannot be bounded and is refused, for a run with a budget only", async (_, body) => {
  const provider = await startProvider((__, response) => answerWith(response, { input: 1, output: 1 }));
  const { gateway, run } = await open(provider, budget({ nanoUsd: USD }));
  const refused = await call(gateway, { token: run.token, body: { ...QUESTION, ...body } });
  expect([refused.status, reason(refused)]).toEqual([400, "not_bounded"]);
  const other = newRun();
  await gateway.openRun(other);
  expect((await call(gateway, { token: other.token, body: { ...QUESTION, ...body } })).status).toBe(200);
});

test("a picture counts what it may, not what its bytes are", async () => {
  const provider = await startProvider((_, response) => answerWith(response, { input: 1_500, output: 1 }));
  const { host, gateway, run } = await open(provider, budget({ nanoUsd: USD }));
  const image = { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(400_000)}` } };
  const body = { ...QUESTION, messages: [{ role: "user", content: [image] }], max_tokens: 10 };
  expect((await call(gateway, { token: run.token, body })).status).toBe(200);
  const [opened] = host.lines(run.runId);
  expect(opened).toMatchObject({ type: "open" });
  if (opened?.type === "open") expect(opened.reservedTokens).toBeLessThan(45_000);
});
