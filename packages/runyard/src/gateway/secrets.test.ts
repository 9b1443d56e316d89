import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { call, QUESTION } from "./testing/caller.ts";
import { asked, beginStreamOf, keyIn, providerOf, sendWhole, STREAMED, WHOLE } from "./testing/formats.ts";
import { newRun, type TestHost, useHosts } from "./testing/host.ts";
import { beginStream, chunk, delta, DONE, FINISH, openaiAt, type SeenRequest, sendJson, useProviders } from "./testing/provider.ts";
import { response as responseOf } from "./testing/responses.ts";

const { newHost } = useHosts();
const startProvider = useProviders();

/** With characters that are written differently in JSON and in URLs. */
const KEY = 'sk-"test/key+with=marks-0123456789';
const KEY_SPELLINGS = [KEY, JSON.stringify(KEY).slice(1, -1), encodeURIComponent(KEY)];
const CANARY = "canary-that-is-no-secret";

/** Every file below a home that contains one of these texts. */
function filesWith(host: TestHost, texts: readonly string[]): string[] {
  const entries = readdirSync(host.home.root, { recursive: true, encoding: "utf8" }).map((name) => path.join(host.home.root, name));
  const files = entries.filter((file) => statSync(file).isFile());
  return files.filter((file) => texts.some((text) => readFileSync(file).includes(text))).map((file) => path.basename(file));
}

/** Tells the key in every way that a provider could: it knows it from the request. */
function echoKey(request: SeenRequest, response: Parameters<typeof sendJson>[0]): void {
  const key = String(request.headers.authorization).slice("Bearer ".length);
  const words = `Your key ${key} (${encodeURIComponent(key)}) ${CANARY}`;
  const how = (request.body["messages"] as { content: string }[])[0]?.content;
  response.setHeader("x-request-id", encodeURIComponent(key));
  if (how === "error") return sendJson(response, 401, { error: { message: words } });
  if (how === "plain") return void response.writeHead(500, { "content-type": "text/plain" }).end(words);
  if (how === "whole") return sendJson(response, 200, { choices: [{ message: { content: words } }] });
  beginStream(response);
  const text = delta(words) + (how === "stream-error" ? chunk({ error: { message: words } }) : FINISH + DONE);
  // In the smallest pieces, so that the key never comes in one.
  const pieces = how === "stream" ? text.split("") : [text];
  for (const piece of pieces) response.write(piece);
  response.end();
}

test.each(["error", "plain", "whole", "stream", "stream-error", "cut"])(
  "a provider that echoes the key (%s): neither the agent nor the disk gets it",
  async (how) => {
    const provider = await startProvider((request, response) => {
      echoKey(request, response);
      if (how === "cut") response.destroy();
    });
    const host = newHost();
    const gateway = await host.open();
    await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
    const run = newRun();
    await gateway.openRun(run);

    const messages = [
      { role: "user", content: how },
      { role: "user", content: `${CANARY} printenv: OPENAI_API_KEY=${run.token}` },
    ];
    const answer = await call(gateway, { token: run.token, body: { ...QUESTION, messages, stream: how.startsWith("stream") } });

    expect(provider.seen[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
    for (const spelling of KEY_SPELLINGS) expect(answer.body + JSON.stringify(answer.headers)).not.toContain(spelling);
    if (how !== "cut") expect(answer.body).toContain(CANARY);
    if (["error", "whole", "stream"].includes(how)) expect(answer.body).toContain("Your key [redacted] ([redacted])");

    // The search finds what is there: the request, and the answer where one came.
    // The recording of an answer may follow the answer.
    await expect.poll(() => filesWith(host, [CANARY]).length).toBeGreaterThanOrEqual(how === "cut" ? 1 : 2);
    expect(filesWith(host, [...KEY_SPELLINGS, run.token])).toEqual([]);
  },
);

test.each([...STREAMED, ...WHOLE.map((format) => ({ ...format, name: `${format.name}, whole`, isWhole: true }))])(
  "over $name the key is taken out in every spelling, however it is cut into pieces",
  async (format) => {
    const provider = await startProvider(async (request, response) => {
      const key = keyIn(request) as string;
      const base64 = (text: string): string => Buffer.from(text).toString("base64");
      const words = [key, encodeURIComponent(key), base64(key), base64(`Bearer ${key}`), base64(`{"k":"${key}"}`)];
      const text = [...words, base64(`x${key}`).replaceAll("+", "-").replaceAll("/", "_"), CANARY].join(" ");
      if ("isWhole" in format) return sendWhole(format, response, text);
      beginStreamOf(format, response);
      for (const piece of format.begin + format.say(text) + format.end) {
        if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
      }
      response.end();
    });
    const host = newHost();
    const gateway = await host.open();
    await gateway.setProviders([providerOf(format, { baseUrl: provider.baseUrl, apiKey: KEY })]);
    const run = newRun();
    await gateway.openRun(run);
    const body = asked(format, !("isWhole" in format));
    const answer = await call(gateway, {
      token: run.token,
      path: `${format.path}${format.path.includes("?") ? "&" : "?"}key=${run.token}`,
      body,
    });

    expect(keyIn(provider.seen[0] as SeenRequest)).toBe(KEY);
    expect(JSON.stringify(provider.seen)).not.toContain(run.token);
    expect(answer.body).toContain(CANARY);
    // The middle of it in base64, wherever it begins.
    const inner = [0, 1, 2].map((before) =>
      Buffer.from("x".repeat(before) + KEY)
        .toString("base64")
        .slice(4, -4),
    );
    const spellings = [...KEY_SPELLINGS, ...inner, ...inner.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"))];
    for (const spelling of spellings) expect(answer.body).not.toContain(spelling);
    await expect.poll(() => filesWith(host, [CANARY]).length).toBe(1);
    expect(filesWith(host, [...spellings, run.token])).toEqual([]);
  },
);

/** Last events of a stream that hold text: they are sent once the call is journalled, by a way of their own. */
const LAST_WORDS: readonly (readonly [string, string, (text: string) => string])[] = [
  [
    "Responses",
    "the event that has all of the answer",
    (text) => {
      const done = {
        type: "response.completed",
        response: responseOf({ output: [{ type: "message", content: [{ type: "output_text", text }] }] }),
      };
      return `event: response.completed\ndata: ${JSON.stringify(done)}\n\n`;
    },
  ],
  [
    "Gemini with alt=sse",
    "an event that is not ended",
    (text) => `data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text }] }, finishReason: "STOP", index: 0 }] })}`,
  ],
];

test.each(LAST_WORDS)("over %s the key is taken out of %s", async (name, _, lastEvent) => {
  const format = STREAMED.find((one) => one.name === name)!;
  const provider = await startProvider((request, answer) => {
    beginStreamOf(format, answer);
    answer.end(format.begin + lastEvent(`Your key ${String(keyIn(request))} ${CANARY}`));
  });
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([providerOf(format, { baseUrl: provider.baseUrl, apiKey: KEY })]);
  const run = newRun();
  await gateway.openRun(run);
  const answer = await call(gateway, { token: run.token, path: format.path, body: asked(format, true) });
  expect(answer.body).toContain(`Your key [redacted] ${CANARY}`);
  for (const spelling of KEY_SPELLINGS) expect(answer.body).not.toContain(spelling);
  await expect.poll(() => filesWith(host, [CANARY]).length).toBe(1);
  expect(filesWith(host, KEY_SPELLINGS)).toEqual([]);
});

test("the token that an agent prints is recorded by nobody, and its owner gets it back", async () => {
  const provider = await startProvider((request, response) =>
    sendJson(response, 200, { choices: [{ message: { content: request.text } }] }),
  );
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  const messages = [{ role: "user", content: `token: ${run.token} ${CANARY}` }];
  const answer = await call(gateway, { token: run.token, body: { ...QUESTION, messages } });
  expect(answer.body).toContain(run.token);
  await expect.poll(() => filesWith(host, [CANARY]).length).toBe(2);
  expect(filesWith(host, [run.token, KEY])).toEqual([]);
});

test("keys and tokens stay in memory through a crash, a hand-over and refusals", async () => {
  const provider = await startProvider((request, response) =>
    sendJson(response, 500, { error: { message: String(request.headers.authorization) } }),
  );
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "gpt-x" })]);
  const run = newRun();
  await gateway.openRun(run);
  await call(gateway, { token: `${run.token}-wrong` });
  await call(gateway, { token: run.token, body: "{" });
  const { pid } = await gateway.health();
  process.kill(pid, "SIGKILL");
  await expect.poll(async () => (await gateway.health().catch(() => ({ pid }))).pid).not.toBe(pid);
  await host.open({ mark: "b" });
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 500 });
  await expect.poll(() => filesWith(host, ["Bearer [redacted]"]).length).toBe(2);
  expect(filesWith(host, [...KEY_SPELLINGS, run.token])).toEqual([]);
  expect(readFileSync(path.join(host.home.logsDir, "gateway.log"), "utf8")).toContain("serves at");
});

test("what the gateway writes is for its user only", async () => {
  const host = newHost();
  const gateway = await host.open();
  const run = { ...newRun(), simulated: true };
  await gateway.openRun(run);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  const open = readdirSync(host.home.root, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(host.home.root, name))
    .filter((file) => (statSync(file).mode & 0o077) !== 0);
  expect(open).toEqual([]);
});

test("a placeholder key of a local server is a word like any other", async () => {
  const provider = await startProvider((_, response) =>
    sendJson(response, 200, { choices: [{ message: { content: "ollama is a model server" } }] }),
  );
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: "ollama", model: "m" })]);
  const run = newRun();
  await gateway.openRun(run);
  expect((await call(gateway, { token: run.token })).body).toContain("ollama is a model server");
});
