import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildAgent, makeDir, spoken, startAgent, toolCalls, type AgentProcess } from "./testing/agent-process.ts";
import { startChatServer, type ChatServer, type Reply } from "./testing/chat-server.ts";

let built: Awaited<ReturnType<typeof buildAgent>>;
let workspace: string;
let home: string;
beforeAll(async () => {
  built = await buildAgent();
  workspace = makeDir("workspace");
  home = makeDir("home");
});
afterAll(() => {
  built.remove();
  for (const dir of [workspace, home]) rmSync(dir, { recursive: true });
});

interface PromptError {
  readonly code: number;
  readonly message: string;
  readonly data: unknown;
}

async function failing(agent: AgentProcess): Promise<PromptError> {
  return await agent.prompt("Go").then(
    (result) => Promise.reject(new Error(`looked like success: ${JSON.stringify(result)}`)),
    (error: PromptError) => error,
  );
}

async function failure(script: readonly Reply[]): Promise<{ error: PromptError; server: ChatServer; agent: AgentProcess }> {
  await using server = await startChatServer(script);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  return { error: await failing(agent), server, agent };
}

const openaiError = (message: string): string => JSON.stringify({ error: { message, type: "some_error", param: null, code: null } });

// The agent has patience with a provider, for seconds: at once, these wait for the same ones.
describe("a provider that refuses", { concurrent: true }, () => {
  test.each([
    [401, openaiError("Incorrect API key provided"), "The model provider answered 401: Incorrect API key provided"],
    [404, openaiError("The model `scripted` does not exist"), "The model provider answered 404: The model `scripted` does not exist"],
    [402, "budget used up", "The model provider answered 402: budget used up"],
    [400, "", "The model provider answered 400: Bad Request"],
  ])("with %i ends the prompt with its words, after one call", async (status, body, message) => {
    const { error, server, agent } = await failure([{ status, body }]);
    expect(error).toMatchObject({ code: -32603, message, data: { source: "model", reason: "status", statusCode: status } });
    expect(server.requests).toHaveLength(1);
    expect(agent.updates).toEqual([]);
    expect(agent.stderr()).toBe("");
  });

  test.each([
    [429, openaiError("Rate limit reached")],
    [500, openaiError("The server had an error")],
    [503, openaiError("Overloaded")],
  ])("with %i is asked three times and then ends the prompt", async (status, body) => {
    const { error, server } = await failure([{ status, body }]);
    const words = (JSON.parse(body) as { error: { message: string } }).error.message;
    expect(error).toMatchObject({
      message: `The model provider answered ${status}: ${words} (after 3 tries)`,
      data: { statusCode: status },
    });
    expect(server.requests).toHaveLength(3);
  });

  test("twice and then answers is no failure", async () => {
    await using server = await startChatServer([{ status: 503, body: "" }, { status: 429, body: "" }, { text: ["ok"] }]);
    await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
    expect((await agent.prompt("Go")).stopReason).toBe("end_turn");
    expect(spoken(agent.updates)).toBe("ok");
  });

  test("a provider that is not there is named", async () => {
    // A port that no server of a test beside this one is given while the agent tries again.
    const port = 1;
    await using agent = await startAgent(built.program, { baseUrl: `http://127.0.0.1:${port}/v1`, workspace, home });
    const error = await failing(agent);
    expect(error.message).toContain(`The model provider cannot be reached at http://127.0.0.1:${port}:`);
    expect(error.data).toMatchObject({ reason: "unreachable" });
  });
});

describe("a stream that breaks", { concurrent: true }, () => {
  const broken: [string, Reply, string][] = [
    ["is cut", { text: ["half an ans"], after: "destroy" }, "The model provider's answer was cut off before its end (3 tries)"],
    ["is cut before its first word", { after: "destroy" }, "The model provider's answer was cut off before its end (3 tries)"],
    [
      "ends without the last event",
      { text: ["half an ans"], after: "end" },
      "The model provider's answer was cut off before its end (3 tries)",
    ],
    [
      "is no stream at all",
      { raw: "<html>Welcome to the proxy</html>" },
      "The model provider's answer was cut off before its end (3 tries)",
    ],
    [
      "says that it failed",
      { raw: `data: ${openaiError("upstream went away")}\n\n` },
      "The model provider broke off its answer: upstream went away (3 tries)",
    ],
  ];
  test.each(broken)("%s: the step is asked for three times, then the prompt fails", async (_, reply, message) => {
    const { error, server } = await failure([reply]);
    expect(error.message).toBe(message);
    expect(server.requests).toHaveLength(3);
    expect(server.requests[2]?.body.messages).toEqual(server.requests[0]?.body.messages);
  });

  test("is asked for again, and nothing of the cut step is carried out or remembered", async () => {
    await using server = await startChatServer([
      { calls: [{ name: "run_command", input: { command: "echo first" } }] },
      { text: ["I will"], calls: [{ name: "run_command", input: { command: "touch from-the-cut-step" } }], after: "destroy" },
      { text: ["Done."] },
    ]);
    await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
    expect((await agent.prompt("Go")).stopReason).toBe("end_turn");
    expect(toolCalls(agent.updates)).toHaveLength(1);
    expect(agent.permissions).toHaveLength(1);
    expect(server.requests[2]?.body.messages).toEqual(server.requests[1]?.body.messages);
    // The half message and the whole one are two messages.
    const ids = agent.updates.flatMap((update) => (update.sessionUpdate === "agent_message_chunk" ? [update.messageId] : []));
    expect(new Set(ids).size).toBe(2);
  });
});

test("what is no chat completion is called that", async () => {
  const { error } = await failure([{ raw: 'data: {"choices": "none"}\n\ndata: [DONE]\n\n' }]);
  expect(error.message).toContain('The model provider sent something that is no chat completion: {"choices":"none"}');
  const { error: noJson } = await failure([{ raw: "data: {half\n\ndata: [DONE]\n\n" }]);
  expect(noJson.message).toContain("The model provider sent something that is no chat completion: {half");
});

test("without a model in the environment the prompt says so", async () => {
  await using agent = await startAgent(built.program, { baseUrl: "", workspace, home });
  expect((await failing(agent)).message).toBe("No model is configured: OPENAI_BASE_URL and RUNYARD_MODEL must be set");
});

test("a conversation goes on after a failure", async () => {
  await using server = await startChatServer([{ status: 401, body: openaiError("no") }, { text: ["ok"] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  await failing(agent);
  expect((await agent.prompt("Again")).stopReason).toBe("end_turn");
  expect(server.requests[1]?.body.messages.map((message) => message.role)).toEqual(["system", "user", "user"]);
});

test.each([
  ["length", "max_tokens"],
  ["content_filter", "refusal"],
  ["stop", "end_turn"],
])("an answer that finishes with %s ends the turn with %s", async (finish, stopReason) => {
  await using server = await startChatServer([{ text: ["words"], finish }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  expect((await agent.prompt("Go")).stopReason).toBe(stopReason);
});

test("calls of an answer that was cut at the output limit are not carried out", async () => {
  await using server = await startChatServer([
    { calls: [{ name: "run_command", input: { command: "touch made" } }], finish: "length" },
    { text: ["ok"] },
  ]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  expect((await agent.prompt("Go")).stopReason).toBe("max_tokens");
  expect(agent.permissions).toEqual([]);
  await agent.prompt("Go on");
  expect(server.requests[1]?.body.messages.at(-2)?.content).toContain("cut off at the model's output limit");
});

test("usage that the provider does not tell is not made up", async () => {
  await using server = await startChatServer([{ text: ["ok"], usage: null }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  expect((await agent.prompt("Go")).usage).toBeUndefined();
});

test("a turn ends after a hundred model calls", async () => {
  await using server = await startChatServer([{ calls: [{ name: "list_files", input: {} }] }]);
  await using agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, home });
  const result = await agent.prompt("Go");
  expect(result.stopReason).toBe("max_turn_requests");
  expect(result.usage?.["totalTokens"]).toBe(11_000);
  expect(server.requests).toHaveLength(100);
});

test("a long conversation loses its oldest tool outputs, and nothing else", async () => {
  await using server = await startChatServer((_, index) =>
    index < 6 ? { calls: [{ name: "run_command", input: { command: `printf 'step-${index} %04000d' 0` } }] } : { text: ["done"] },
  );
  await using agent = await startAgent(built.program, {
    baseUrl: server.baseUrl,
    workspace,
    home,
    env: { RUNYARD_CONTEXT_TOKENS: "4000" },
  });
  await agent.prompt("Go");
  const outputs = server.requests[6]?.body.messages.filter((message) => message.role === "tool").map((message) => message.content ?? "");
  expect(outputs).toHaveLength(6);
  expect(outputs?.[0]).toContain("This output was removed to save room");
  expect(outputs?.[5]).toContain("step-5 0000");
  expect(JSON.stringify(server.requests[6]?.body.messages).length).toBeLessThan(4 * 4_000 + 4_000);
});
