import { afterEach, describe, expect, it } from "vitest";
import { SCRIPTED_USAGE, startScriptedModel, type ModelScript, type ScriptedModel } from "./scripted-model.ts";

let model: ScriptedModel | undefined;
afterEach(async () => {
  await model?.close();
  model = undefined;
});

const tool = (name: string, properties: object, required: readonly string[] = []): object => ({
  type: "function",
  function: { name, parameters: { type: "object", properties, required } },
});
const TOOLS = [
  tool("bash", { command: { type: "string" }, timeout: { type: "number" }, mode: { type: "string", enum: ["fast", "slow"] } }, [
    "command",
    "timeout",
    "mode",
  ]),
  tool("write", { filePath: { type: "string" }, content: { type: "string" } }),
  tool("edit_file", { path: {}, old_text: {}, new_text: {} }),
];

async function ask(script: ModelScript, body: object, headers: Record<string, string> = {}): Promise<Response> {
  model ??= await startScriptedModel(script);
  return fetch(`${model.url}/chat/completions`, { method: "POST", headers, body: JSON.stringify({ model: "m", tools: TOOLS, ...body }) });
}

interface Whole {
  readonly choices: [
    {
      readonly finish_reason: string;
      readonly message: {
        readonly content: string | null;
        readonly tool_calls?: { readonly function: { readonly name: string; readonly arguments: string } }[];
      };
    },
  ];
  readonly usage: { readonly prompt_tokens: number };
}
const wholeOf = async (response: Response): Promise<Whole> => (await response.json()) as Whole;
const user = (content: string): object => ({ role: "user", content });
const assistant = { role: "assistant", content: "done" };

describe("the scripted model", () => {
  it("turns a step into calls of the tools that were declared, with what they require", async () => {
    const script = [{ say: "Here.", run: "ls", write: ["a.txt", "x"], edit: ["b", "old", "new"] }] as const;
    const answer = await wholeOf(await ask(script, { messages: [user("go")] }));
    expect(answer.choices[0].message.content).toBe("Here.");
    expect(answer.choices[0].finish_reason).toBe("tool_calls");
    expect(
      answer.choices[0].message.tool_calls?.map((call) => [call.function.name, JSON.parse(call.function.arguments) as unknown]),
    ).toEqual([
      ["write", { filePath: "a.txt", content: "x" }],
      ["edit_file", { path: "b", old_text: "old", new_text: "new" }],
      ["bash", { command: "ls", timeout: 1, mode: "fast" }],
    ]);
    expect(answer.usage.prompt_tokens).toBe(SCRIPTED_USAGE.inputTokens);
  });

  it("finds its step in the messages, and gives a call that is made again the same answer", async () => {
    const script = [{ run: "one" }, { say: "two" }];
    const messages = [user("go"), assistant, { role: "tool", content: "ok" }];
    for (let time = 0; time < 2; time++) expect((await wholeOf(await ask(script, { messages }))).choices[0].message.content).toBe("two");
    expect((await wholeOf(await ask(script, { messages: [...messages, assistant] }))).choices[0].message.content).toMatch(
      /Nothing is left/,
    );
    expect(model?.requests.map((request) => request.step)).toEqual([1, 1, 2]);
  });

  it("plays the script that the last prompt names", async () => {
    const script = { first: [{ say: "a" }], second: [{ say: "b" }] };
    const messages = [user("[[first]]"), assistant, { role: "user", content: [{ type: "text", text: "now [[second]]" }] }];
    expect((await wholeOf(await ask(script, { messages }))).choices[0].message.content).toBe("b");
    expect((await ask(script, { messages: [user("[[third]]")] })).status).toBe(400);
  });

  it("streams the same, with usage and an end", async () => {
    const response = await ask([{ say: "one two", run: "ls" }], { messages: [user("go")], stream: true });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const lines = (await response.text()).split("\n\n").filter((line) => line !== "");
    expect(lines.at(-1)).toBe("data: [DONE]");
    const chunks = lines
      .slice(0, -1)
      .map((line) => JSON.parse(line.slice(6)) as { choices: [{ delta: { content?: string } }?]; usage?: object });
    expect(chunks.map((one) => one.choices[0]?.delta.content ?? "").join("")).toBe("one two");
    expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: SCRIPTED_USAGE.outputTokens });
  });

  it("answers requests without tools beside the script", async () => {
    expect((await wholeOf(await ask([{ run: "ls" }], { messages: [user("title?")], tools: [] }))).choices[0].message.content).toBe(
      "A scripted title",
    );
    expect(model?.requests[0]?.step).toBeNull();
  });

  it("fails as often as it is told, for each caller apart", async () => {
    const script = [{ fail: 429, times: 1, message: "slow down", retryAfterSeconds: 2, say: "fine" }];
    const as = (key: string): Promise<Response> => ask(script, { messages: [user("go")] }, { authorization: `Bearer ${key}` });
    const first = await as("a");
    expect([first.status, first.headers.get("retry-after")]).toEqual([429, "2"]);
    expect(await first.json()).toMatchObject({ error: { message: "slow down" } });
    expect([(await as("b")).status, (await as("a")).status]).toEqual([429, 200]);
    expect(model?.requests.map((request) => request.authorization)).toEqual(["Bearer a", "Bearer b", "Bearer a"]);
  });

  it("breaks a stream off so that it looks broken", async () => {
    const response = await ask([{ cut: "half a sent" }], { messages: [user("go")], stream: true });
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow("terminated");
  });

  it("says what it was not asked for: a tool that is not there, a path that is not scripted", async () => {
    const lacking = await ask([{ run: "ls" }], { messages: [user("go")], tools: [tool("write", {})] });
    expect(lacking.status).toBe(400);
    expect(await lacking.json()).toMatchObject({ error: { message: expect.stringMatching(/declares no tool.*write/) as string } });
    expect((await fetch(`${model?.url}/embeddings`, { method: "POST", body: "{}" })).status).toBe(404);
    expect((await fetch(`${model?.url}/models`)).status).toBe(200);
  });

  it("lets a slow answer go when the caller is gone, and closes", async () => {
    const gone = AbortSignal.timeout(50);
    model = await startScriptedModel([{ delayMs: 600_000 }]);
    const call = fetch(`${model.url}/chat/completions`, {
      method: "POST",
      signal: gone,
      body: JSON.stringify({ tools: TOOLS, messages: [user("go")] }),
    });
    await expect(call).rejects.toThrow("aborted");
    await model.close();
    model = undefined;
  });
});
