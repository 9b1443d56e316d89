import { afterEach, expect, it } from "vitest";
import { SCRIPTED_USAGE, startScriptedModel, type ModelScript, type ScriptedModel } from "./scripted-model.ts";

let model: ScriptedModel | undefined;
afterEach(async () => {
  await model?.close();
  model = undefined;
});

const SHELL = { type: "function", name: "exec_command", parameters: { properties: { cmd: { type: "string" }, tty: { type: "boolean" } } } };
const PATCH = { type: "custom", name: "apply_patch", format: { type: "grammar" } };
const OTHERS = [{ type: "web_search" }, { type: "namespace", name: "agents", tools: [] }];

async function ask(script: ModelScript, body: object): Promise<Response> {
  model ??= await startScriptedModel(script);
  return fetch(`${model.url}/responses`, { method: "POST", body: JSON.stringify({ model: "m", tools: [SHELL, ...OTHERS], ...body }) });
}

interface Item {
  readonly type: string;
  readonly name?: string;
  readonly call_id?: string;
  readonly arguments?: string;
  readonly input?: string;
  readonly content?: { readonly text: string }[];
}
async function outputOf(response: Response): Promise<Item[]> {
  return ((await response.json()) as { output: Item[] }).output;
}

it("turns a step into what codex's tools take: a command, or a patch, by the tool for it or by the shell", async () => {
  const script = [{ say: "Here.", run: "ls", write: ["a.txt", "x\n"], edit: ["b", "old", "new"], read: "c" }] as const;
  const [said, ...calls] = await outputOf(await ask(script, { input: "go" }));
  expect(said).toMatchObject({ type: "message", content: [{ text: "Here." }] });
  expect(calls.map((call) => [call.type, call.name, JSON.parse(call.arguments ?? "") as unknown])).toEqual(
    [
      "cat c",
      "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: a.txt\n+x\n*** End Patch\nEOF",
      "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: b\n@@\n-old\n+new\n*** End Patch\nEOF",
      "ls",
    ].map((cmd) => ["function_call", "exec_command", { cmd }]),
  );
  const patched = (await outputOf(await ask(script, { input: "go", tools: [SHELL, PATCH] }))).filter(
    (item) => item.type === "custom_tool_call",
  );
  expect(patched.map((call) => [call.name, call.input])).toEqual([
    ["apply_patch", "*** Begin Patch\n*** Add File: a.txt\n+x\n*** End Patch\n"],
    ["apply_patch", "*** Begin Patch\n*** Update File: b\n@@\n-old\n+new\n*** End Patch\n"],
  ]);
});

it("knows the step from the turns in the input, of which each may be several items", async () => {
  const script = [{ run: "one" }, { run: "two" }, { say: "Done." }];
  const turn = [
    { type: "reasoning", summary: [] },
    { type: "message", role: "assistant", content: [{ type: "output_text", text: "Well." }] },
    { type: "function_call", call_id: "c", name: "exec_command", arguments: "{}" },
  ];
  const output = { type: "function_call_output", call_id: "c", output: "ok" };
  const task = { type: "message", role: "user", content: [{ type: "input_text", text: "go" }] };
  const inputs = [[task], [task, ...turn, output], [task, ...turn, output, ...turn, output]];
  for (const input of inputs) await ask(script, { input });
  expect(model?.requests.map((request) => [request.step, request.tools])).toEqual([0, 1, 2].map((step) => [step, ["exec_command"]]));
});

it("streams what it says, ends with the usage, fails and breaks off as told", async () => {
  const script = { well: [{ say: "One two." }], broken: [{ cut: "One" }], failing: [{ fail: 401, message: "no such key" }] };
  const streamed = await (await ask(script, { input: "[[well]]", stream: true })).text();
  const events = streamed
    .trimEnd()
    .split("\n\n")
    .map((frame) => JSON.parse(frame.split("\ndata: ")[1] ?? "") as { type: string; delta?: string });
  expect(events.flatMap((event) => event.delta ?? []).join("")).toBe("One two.");
  expect(events.at(-1)).toMatchObject({
    type: "response.completed",
    response: { usage: { input_tokens: SCRIPTED_USAGE.inputTokens, output_tokens: SCRIPTED_USAGE.outputTokens } },
  });
  await expect((await ask(script, { input: "[[broken]]", stream: true })).text()).rejects.toThrow();
  const failed = await ask(script, { input: "[[failing]]" });
  expect([failed.status, await failed.json()]).toMatchObject([401, { error: { message: "no such key" } }]);
});
