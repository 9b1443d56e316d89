import { parseJson, readObject, readText, type Json, type JsonObject } from "../acp/json.ts";
import { readRunToolCall, REPEATED, RUN_TOOLS, RUN_TOOLS_SERVER, type RunTool } from "./calls.ts";

/** Revisions of the Model Context Protocol that differ in nothing that is spoken here; the newest first. */
const PROTOCOL_VERSIONS = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] as const;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const PARSE_ERROR = -32700;

/** How calls are answered. */
export interface RunToolsMode {
  /** Whether a plan is asked for. */
  readonly plans: boolean;
  /** Whether answers repeat what was passed, because the agent does not report it. */
  readonly repeats: boolean;
}

/**
 * Answers one line of an MCP client; null for what needs no answer. Every call is answered at once, with fixed words,
 * and nothing is kept: what was said in it is taken from the agent's own report of the call.
 */
export function answerLine(line: string, mode: RunToolsMode): string | null {
  const message = parseJson(line);
  if (message === undefined) return failure(null, PARSE_ERROR, "This line is no JSON");
  const request = readObject(message);
  const method = readText(request?.["method"]);
  const id = request?.["id"];
  if (request === null || method === null || id === undefined) return null;
  const params = readObject(request["params"]) ?? {};
  switch (method) {
    case "initialize":
      return success(id, {
        protocolVersion: PROTOCOL_VERSIONS.find((version) => version === params["protocolVersion"]) ?? PROTOCOL_VERSIONS[0],
        capabilities: { tools: {} },
        serverInfo: { name: RUN_TOOLS_SERVER, title: "Runyard", version: "1" },
      });
    case "ping":
      return success(id, {});
    case "tools/list":
      return success(id, { tools: RUN_TOOLS.map((name) => ({ name, ...DEFINITIONS[name], annotations: HARMLESS })) });
    case "tools/call":
      return answerCall(id, params, mode);
    default:
      return failure(id, METHOD_NOT_FOUND, `There is no method ${method.slice(0, 100)} here`);
  }
}

function answerCall(id: Json, params: JsonObject, mode: RunToolsMode): string {
  const tool = RUN_TOOLS.find((name) => name === params["name"]);
  if (tool === undefined) return failure(id, INVALID_PARAMS, `The tools here are ${RUN_TOOLS.join(", ")}`);
  const isUnderstood = readRunToolCall(tool, params["arguments"]) !== null;
  const said = isUnderstood ? answerTo(tool, mode) : `This was not understood. ${tool} takes ${TAKES[tool]}, and nothing else.`;
  const text = isUnderstood && mode.repeats ? `${said}\n${REPEATED}${JSON.stringify(params["arguments"])}` : said;
  return success(id, { content: [{ type: "text", text }], isError: !isUnderstood });
}

function answerTo(tool: RunTool, { plans }: RunToolsMode): string {
  switch (tool) {
    case "submit_plan":
      return plans
        ? "The plan was handed in. End your turn now; a person decides."
        : "No plan was asked for, so this one was not handed in. Go on with your work.";
    case "ask_user":
      return "Your question was passed on. End your turn now; the answer will be your next message.";
    case "report_progress":
      return "It was told. Go on with your work.";
  }
}

const TAKES: Readonly<Record<RunTool, string>> = {
  submit_plan: "plan (a text) and, if you like, steps (a list of texts)",
  ask_user: "question (a text) and, if you like, options (a list of texts)",
  report_progress: "percentage (a number from 0 to 100) and message (a text)",
};

/** Agents that ask before tools need not ask before these: they change nothing. */
const HARMLESS = { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false };

const text = (description: string): JsonObject => ({ type: "string", minLength: 1, description });
const texts = (description: string): JsonObject => ({ type: "array", items: { type: "string" }, description });
const takes = (properties: JsonObject, required: readonly string[]): JsonObject => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

const DEFINITIONS: Readonly<Record<RunTool, { readonly description: string; readonly inputSchema: JsonObject }>> = {
  submit_plan: {
    description:
      "Hand in your plan, when and only when you were asked to plan before you work. The whole plan, in Markdown. End your turn after it: a person decides about the plan.",
    inputSchema: takes(
      {
        plan: text("The plan: what will be changed and where, in which order, and how it will be checked"),
        steps: texts("Its steps in order, if the plan itself does not list them; they are put behind it"),
      },
      ["plan"],
    ),
  },
  ask_user: {
    description:
      "Ask the person who gave you the task a question, when you cannot go on without the answer. This does not wait: end your turn after it, and the answer will be your next message.",
    inputSchema: takes(
      { question: text("The question, complete in itself"), options: texts("Answers to choose from, where there are some") },
      ["question"],
    ),
  },
  report_progress: {
    description: "Tell the people who follow your work how far it is: a few times in a task that takes long, not after every step.",
    inputSchema: takes(
      {
        percentage: { type: "number", minimum: 0, maximum: 100, description: "How much of the whole task is done" },
        message: text("What is done, or what you are at, in one sentence"),
      },
      ["percentage", "message"],
    ),
  },
};

function success(id: Json, result: JsonObject): string {
  return JSON.stringify({ jsonrpc: "2.0", id, result });
}

function failure(id: Json, code: number, message: string): string {
  return JSON.stringify({ jsonrpc: "2.0", id, error: { code, message } });
}
