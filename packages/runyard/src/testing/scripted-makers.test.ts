import { afterEach, expect, test } from "vitest";
import { type ModelScript, type ScriptedModel, startScriptedModel } from "./scripted-model.ts";

let model: ScriptedModel | undefined;
afterEach(async () => {
  await model?.close();
  model = undefined;
});

const SHELL = { properties: { command: { type: "string" } } };
const SCRIPT = { work: [{ say: "Well.", run: "one" }, { run: "two" }, { say: "Done." }] };

interface Maker {
  readonly name: string;
  readonly path: string;
  readonly streamPath: string;
  readonly countPath: string;
  /** The conversation, after so many turns of the model. */
  body(turns: number, fields?: object): object;
  /** What it said and called, of a whole answer. */
  read(answer: never): (string | undefined)[];
}

const messages: Maker = {
  name: "Messages",
  path: "/v1/messages",
  streamPath: "/v1/messages",
  countPath: "/v1/messages/count_tokens",
  body: (turns, fields) => ({
    model: "m",
    tools: [{ name: "Bash", input_schema: SHELL }],
    messages: [
      { role: "user", content: [{ type: "text", text: "[[work]]" }] },
      ...Array.from({ length: turns }, () => [
        { role: "assistant", content: [{ type: "tool_use", id: "t", name: "Bash", input: {} }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "ok" }] },
      ]).flat(),
    ],
    ...fields,
  }),
  read: ({ content }: { content: { text?: string; input?: { command: string } }[] }) =>
    content.map((block) => block.text ?? block.input?.command),
};

const gemini: Maker = {
  name: "Gemini",
  path: "/v1beta/models/m:generateContent",
  streamPath: "/v1beta/models/m:streamGenerateContent?alt=sse",
  countPath: "/v1beta/models/m:countTokens",
  body: (turns, fields) => ({
    tools: [{ functionDeclarations: [{ name: "run_shell_command", parametersJsonSchema: SHELL }] }],
    contents: [
      { role: "user", parts: [{ text: "[[work]]" }] },
      ...Array.from({ length: turns }, () => [
        { role: "model", parts: [{ functionCall: { name: "run_shell_command", args: {} } }] },
        { role: "user", parts: [{ functionResponse: { name: "run_shell_command", response: { output: "ok" } } }] },
      ]).flat(),
    ],
    ...fields,
  }),
  read: ({ candidates }: { candidates: { content: { parts: { text?: string; functionCall?: { args: { command: string } } }[] } }[] }) =>
    candidates.flatMap(({ content }) => content.parts.map((part) => part.text ?? part.functionCall?.args.command)),
};

const MAKERS = [messages, gemini];

async function ask(path: string, body: object, script: ModelScript = SCRIPT): Promise<Response> {
  model ??= await startScriptedModel(script);
  return await fetch(`${model.root}${path}`, { method: "POST", body: JSON.stringify(body), headers: { "x-api-key": "k" } });
}

test.each(MAKERS)("over $name the step follows from the turns in the request", async ({ path, body, read }) => {
  const steps = [];
  for (const turns of [0, 1, 2]) steps.push(read((await (await ask(path, body(turns))).json()) as never));
  expect(steps).toEqual([["Well.", "one"], ["two"], ["Done."]]);
  expect(model?.requests.map((request) => [request.step, request.model, request.authorization])).toEqual(
    [0, 1, 2].map((step) => [step, "m", "k"]),
  );
});

test.each(MAKERS)("over $name it streams, counts, and answers what is for the agent's own ends", async (maker) => {
  const streamed = await (await ask(maker.streamPath, maker.body(0, { stream: true }))).text();
  expect(streamed).toContain("Well.");
  expect(streamed).toContain("one");
  expect(streamed).toMatch(/message_stop|"STOP"/);
  expect(Object.values((await (await ask(maker.countPath, maker.body(0))).json()) as object)).toEqual([1_000]);
  const title = maker.read((await (await ask(maker.path, maker.body(0, { tools: [] }))).json()) as never);
  expect(title).toEqual(["A scripted title"]);
  expect(model?.requests.map((request) => request.step)).toEqual([0, null]);
});

test("over Gemini an answer that must be JSON is", async () => {
  const schema = { properties: { model_choice: { type: "string", enum: ["flash", "pro"] } } };
  const answer = await ask(gemini.path, gemini.body(0, { generationConfig: { responseJsonSchema: schema } }));
  expect(gemini.read((await answer.json()) as never)).toEqual(['{"model_choice":"flash"}']);
});

test.each(MAKERS)("over $name it breaks off, and fails, where the script says so", async ({ path, streamPath, body }) => {
  const cut = { work: [{ cut: "Half of it" }] };
  const broken = await ask(streamPath, body(0, { stream: true }), cut);
  await expect(broken.text()).rejects.toThrow();
  model?.play({ work: [{ fail: 429, retryAfterSeconds: 7 }] });
  const failed = await ask(path, body(0));
  expect([failed.status, failed.headers.get("retry-after")]).toEqual([429, "7"]);
});
