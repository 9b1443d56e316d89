/** What the agent below does in a turn, one after the other. */
export type ToolAgentStep =
  /** Calls a tool of the server that it was given, for real, and reports the call; with `asks`, it asks permission first. */
  | { readonly call: string; readonly with: unknown; readonly asks?: boolean }
  /** Asks permission for this command, and does nothing with the answer. */
  | { readonly permit: string }
  /** An update of the session as it stands here, whatever it says. */
  | { readonly report: Readonly<Record<string, unknown>> }
  | { readonly write: readonly [path: string, content: string] }
  | { readonly say: string };

/**
 * An agent for Node that speaks ACP, takes its conversation up again, and starts the MCP servers that it is given. It
 * plays `script.json` of its workspace: a list of turns, each a list of steps. It knows by a file in its home which
 * turn is next, and says in the beginning of each turn what it was asked and which tools it has.
 */
export const TOOL_AGENT = String.raw`
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const linesOf = (input) => createInterface({ input })[Symbol.asyncIterator]();
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");
const update = (fields) => send({ method: "session/update", params: { sessionId: "s1", update: fields } });
const say = (text) => update({ sessionUpdate: "agent_message_chunk", messageId: String(Math.random()), content: { type: "text", text } });
const turnFile = process.env.HOME + "/turns";
const input = linesOf(process.stdin);
let server;

async function start({ name, command, args, env }) {
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...Object.fromEntries(env.map((one) => [one.name, one.value])) }, stdio: ["pipe", "pipe", "inherit"] });
  const answers = linesOf(child.stdout);
  let id = 0;
  const ask = async (method, params) => {
    child.stdin.write(JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params }) + "\n");
    return JSON.parse((await answers.next()).value).result;
  };
  await ask("initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "tool-agent", version: "1" } });
  child.stdin.write(JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" }) + "\n");
  const { tools } = await ask("tools/list", {});
  return { name, ask, tools: tools.map((tool) => tool.name) };
}

let calls = 0;
async function permitted(toolCall) {
  const options = [{ optionId: "yes", name: "Yes", kind: "allow_once" }, { optionId: "no", name: "No", kind: "reject_once" }];
  const id = "p" + calls;
  send({ id, method: "session/request_permission", params: { sessionId: "s1", toolCall, options } });
  for (;;) {
    const message = JSON.parse((await input.next()).value);
    if (message.id === id) return message.result.outcome.optionId === "yes";
  }
}

async function call(step) {
  const toolCallId = "call" + ++calls;
  const title = server.name + "_" + step.call;
  update({ sessionUpdate: "tool_call", toolCallId, title, kind: "other", status: "pending", rawInput: {} });
  if (step.asks && !(await permitted({ toolCallId, rawInput: step.with }))) return update({ sessionUpdate: "tool_call_update", toolCallId, status: "failed" });
  const { content } = await server.ask("tools/call", { name: step.call, arguments: step.with });
  const said = content.map((item) => ({ type: "content", content: item }));
  update({ sessionUpdate: "tool_call_update", toolCallId, title: "", status: "completed", rawInput: step.with, content: said });
}

for (;;) {
  const { value: line, done } = await input.next();
  if (done) break;
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize")
    send({ id, result: { protocolVersion: 1, agentInfo: { name: "tool agent", version: "1" }, agentCapabilities: { loadSession: true, sessionCapabilities: { resume: {} } } } });
  if (method === "session/new" || method === "session/resume") {
    server = await start(params.mcpServers[0]);
    send({ id, result: { sessionId: "s1" } });
  }
  if (method !== "session/prompt") continue;
  const turn = existsSync(turnFile) ? readFileSync(turnFile).length : 0;
  appendFileSync(turnFile, "x");
  say("I was asked: " + params.prompt[0].text + "\nI have: " + server.tools.join(", "));
  for (const step of JSON.parse(readFileSync("script.json", "utf8"))[turn]) {
    if (step.say) say(step.say);
    else if (step.write) writeFileSync(...step.write);
    else if (step.report) update(step.report);
    else if (step.permit) await permitted({ toolCallId: "call" + ++calls, kind: "execute", title: step.permit, rawInput: { command: step.permit } });
    else await call(step);
  }
  send({ id, result: { stopReason: "end_turn" } });
}
process.exit(0);
`;
