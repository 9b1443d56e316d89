import { expect, test } from "vitest";
import { call } from "../testing/caller.ts";
import { newRun, useHosts } from "../testing/host.ts";

const { shared } = useHosts();

interface Call {
  readonly id: string;
  readonly name: string;
}
interface Said {
  readonly text: string;
  readonly calls: readonly Call[];
}

/** One of the formats, as an agent speaks it. */
interface Speaker {
  readonly name: string;
  readonly path: string;
  readonly streamPath: string;
  readonly countPath: string;
  /** The first message, then for each turn what the model said and what tools gave back. */
  begin(task: string): object[];
  answer(body: string): Said & { readonly turn: object };
  results(calls: readonly (Call & { readonly text: string })[]): object;
  request(messages: readonly object[], tools: readonly Tool[], more?: object): object;
  /** A request whose answer must fit a schema. */
  readonly asksJson: (schema: object) => object;
  events(body: string): Said;
}
interface Tool {
  readonly name: string;
  readonly schema: object;
}

type Block = { readonly type: string; readonly text?: string } & Partial<Call>;
type Part = { readonly text?: string; readonly functionCall?: Call };

const messages: Speaker = {
  name: "Messages",
  path: "/v1/messages",
  streamPath: "/v1/messages",
  countPath: "/v1/messages/count_tokens",
  begin: (task) => [{ role: "user", content: task }],
  answer(body) {
    const { content } = JSON.parse(body) as { content: Block[] };
    const calls = content.flatMap((block) => (block.type === "tool_use" ? [{ id: block.id ?? "", name: block.name ?? "" }] : []));
    return { turn: { role: "assistant", content }, calls, text: content.map((block) => block.text ?? "").join("") };
  },
  results: (calls) => ({
    role: "user",
    content: calls.map(({ id, text }) => ({ type: "tool_result", tool_use_id: id, content: [{ type: "text", text }] })),
  }),
  request: (list, tools, more) => ({
    model: "runyard",
    max_tokens: 100,
    messages: list,
    tools: tools.map(({ name, schema }) => ({ name, input_schema: schema })),
    ...more,
  }),
  asksJson: (schema) => ({ output_config: { format: { type: "json_schema", schema } } }),
  events(body) {
    const events = dataOf(body) as { type: string; content_block?: Block; delta?: { text?: string; partial_json?: string } }[];
    expect([events[0]?.type, events.at(-1)?.type]).toEqual(["message_start", "message_stop"]);
    const calls = events.flatMap(({ content_block: block }) =>
      block?.type === "tool_use" ? [{ id: block.id ?? "", name: block.name ?? "" }] : [],
    );
    return { text: events.map((event) => event.delta?.text ?? "").join(""), calls };
  },
};

const gemini: Speaker = {
  name: "Gemini",
  path: "/v1beta/models/gemini-x:generateContent",
  streamPath: "/v1beta/models/gemini-x:streamGenerateContent?alt=sse",
  countPath: "/v1beta/models/gemini-x:countTokens",
  begin: (task) => [{ role: "user", parts: [{ text: task }] }],
  answer(body) {
    const parts = partsOf(JSON.parse(body));
    return { turn: { role: "model", parts }, ...saidIn(parts) };
  },
  results: (calls) => ({
    role: "user",
    parts: calls.map(({ id, name, text }) => ({ functionResponse: { id, name, response: { output: text } } })),
  }),
  request: (list, tools, more) => ({
    contents: list,
    tools: [{ functionDeclarations: tools.map(({ name, schema }) => ({ name, parametersJsonSchema: schema })) }],
    ...more,
  }),
  asksJson: (schema) => ({ generationConfig: { responseMimeType: "application/json", responseJsonSchema: schema } }),
  events: (body) => saidIn((dataOf(body) as object[]).flatMap(partsOf)),
};

function dataOf(body: string): unknown[] {
  return body
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line): unknown => JSON.parse(line.slice("data: ".length)));
}

function partsOf(answer: unknown): Part[] {
  return (answer as { candidates: { content: { parts: Part[] } }[] }).candidates[0]?.content.parts ?? [];
}

function saidIn(parts: readonly Part[]): Said {
  return { text: parts.map((part) => part.text ?? "").join(""), calls: parts.flatMap((part) => part.functionCall ?? []) };
}

const TOOLS: Tool[] = ["list_files", "write_file", "update_plan"].map((name) => ({ name, schema: { properties: { path: {} } } }));

/** Asks as a run that is simulated does. */
async function simulate(): Promise<{
  ask(path: string, body: object): Promise<string>;
  closes(): { inputTokens: number | null; outputTokens: number | null; ok: boolean }[];
}> {
  const { gateway, host } = await shared();
  const run = { ...newRun(), simulated: true };
  await gateway.openRun(run);
  return {
    ask: async (path, body) => (await call(gateway, { token: run.token, path, body })).body,
    closes: () => host.closes(run.runId),
  };
}

const SPEAKERS = [messages, gemini];

test.each(SPEAKERS)("a simulated run over $name takes the script's turns, one after the other, and each is counted", async (speaker) => {
  const { ask, closes } = await simulate();
  const list = speaker.begin("Rewrite it");
  const asked: string[][] = [];
  let said = speaker.answer(await ask(speaker.path, speaker.request(list, TOOLS)));
  while (said.calls.length > 0) {
    asked.push(said.calls.map((one) => one.name));
    const textOf = (name: string): string => (name === "list_files" ? "README.md" : "Wrote 3 bytes to SIMULATED.md.");
    list.push(said.turn, speaker.results(said.calls.map((one) => ({ ...one, text: textOf(one.name) }))));
    said = speaker.answer(await ask(speaker.path, speaker.request(list, TOOLS)));
  }
  expect(asked).toEqual([["update_plan", "list_files"], ["write_file"], ["update_plan"]]);
  expect(said.text).toContain("I wrote SIMULATED.md and changed nothing else.");
  const inputs = closes().map((close) => close.inputTokens ?? 0);
  expect(inputs).toHaveLength(4);
  expect(inputs).toEqual(inputs.toSorted((a, b) => a - b));
  expect(closes().every((close) => close.ok && (close.outputTokens ?? 0) > 0)).toBe(true);
});

test.each(SPEAKERS)("a stream over $name adds up to the whole answer", async (speaker) => {
  const { ask, closes } = await simulate();
  const list = speaker.begin("Do it");
  const { text, calls } = speaker.answer(await ask(speaker.path, speaker.request(list, TOOLS)));
  const streamed = speaker.events(await ask(speaker.streamPath, speaker.request(list, TOOLS, { stream: true })));
  expect(streamed.text).toBe(text);
  expect(streamed.calls.map((one) => one.name)).toEqual(calls.map((one) => one.name));
  expect(closes()).toMatchObject([{ ok: true }, { ok: true }]);
});

test("a stream of Gemini as an array is one array", async () => {
  const { ask, closes } = await simulate();
  const body = await ask("/v1beta/models/x:streamGenerateContent", gemini.request(gemini.begin("Do it"), TOOLS));
  expect(saidIn((JSON.parse(body) as object[]).flatMap(partsOf)).calls.map((one) => one.name)).toEqual(["update_plan", "list_files"]);
  expect(closes()).toMatchObject([{ ok: true, complete: true }]);
});

test.each(SPEAKERS)("over $name an answer that must fit a schema does, and is no turn of the script", async (speaker) => {
  const { ask } = await simulate();
  const schema = {
    type: "object",
    properties: {
      choice: { type: "string", enum: ["flash", "pro"] },
      why: { type: "string" },
      score: { type: "integer", minimum: 3 },
      sure: { type: "boolean" },
      list: { type: "array" },
    },
  };
  const said = speaker.answer(await ask(speaker.path, speaker.request(speaker.begin("Choose"), TOOLS, speaker.asksJson(schema))));
  expect(JSON.parse(said.text)).toEqual({ choice: "flash", why: "simulated", score: 3, sure: false, list: [] });
});

test.each(SPEAKERS)("over $name tools that only share a name with the built-in agent's are left alone", async (speaker) => {
  const { ask } = await simulate();
  const tools = [{ name: "write_file", schema: { properties: { file_path: {}, content: {} } } }];
  const said = speaker.answer(await ask(speaker.path, speaker.request(speaker.begin("Do it"), tools)));
  expect(said).toMatchObject({ calls: [], text: expect.stringContaining("This run was simulated") });
});

test.each(SPEAKERS)("over $name tokens are counted, and that is no model call", async (speaker) => {
  const { ask, closes } = await simulate();
  expect(Object.values(JSON.parse(await ask(speaker.countPath, speaker.request(speaker.begin("Do it"), []))) as object)[0]).toBeGreaterThan(
    3,
  );
  expect(closes).toThrow("ENOENT");
});
