import type { EventData } from "@runyard/sdk/contract";
import { readRunToolCall, REPEATED, RUN_TOOLS, RUN_TOOLS_SERVER, type RunTool } from "../run-tools/calls.ts";
import { emit, emitAside, type Draft } from "./draft.ts";
import { parseJson, readArray, readObject, readText, type Json, type JsonObject } from "./json.ts";
import type { ConversationState, NewRequest, OwnCall } from "./state.ts";

/** The name of the rule that allows such calls, in front of all others. */
export const OWN_CALLS_RULE = "run tools";
/** More questions in one turn than anybody reads. */
const MAX_QUESTIONS = 20;

/** What a report of a tool call adds to what is known of it; undefined: it is no call of these tools. */
export function readOwnCall(known: OwnCall | undefined, call: JsonObject): OwnCall | undefined {
  const tool = known?.tool ?? ownToolOf(call);
  if (tool === undefined) return undefined;
  const passed = argumentsOf(readObject(call["rawInput"])) ?? repeatedIn(call["content"]);
  return { tool, said: passed === null ? (known?.said ?? null) : readRunToolCall(tool, passed) };
}

/** Agents make a tool's name of the server's and its own, each in its own way, and pass it as a name or as a title. */
function ownToolOf(call: JsonObject): RunTool | undefined {
  const names = [call["name"], call["title"], readObject(readObject(call["_meta"])?.["claudeCode"])?.["toolName"]];
  const found = names.map((value) => NAME.exec(readText(value) ?? "")).find((match) => match !== null);
  return RUN_TOOLS.find((tool) => tool === (found?.[1] ?? found?.[2]));
}
const NAME = new RegExp(String.raw`^(?:mcp[._:/-]+)?${RUN_TOOLS_SERVER}[._:/-]+([a-z_]+)$|^([a-z_]+) \(${RUN_TOOLS_SERVER} MCP Server\)$`);

/** What was passed; null where nothing is told (yet). Codex's adapter tells it beside server and tool. */
function argumentsOf(input: JsonObject | null): Json | null {
  if (input === null || Object.keys(input).length === 0) return null;
  return input["server"] === RUN_TOOLS_SERVER ? (input["arguments"] ?? null) : input;
}

/** What the tool's answer says that it was passed. */
function repeatedIn(content: Json | undefined): Json | null {
  const text = readText(readObject(readObject(readArray(content)[0])?.["content"])?.["text"]) ?? "";
  const line = text.slice(text.lastIndexOf("\n") + 1);
  return line.startsWith(REPEATED) ? (parseJson(line.slice(REPEATED.length)) ?? null) : null;
}

/** Takes in what was said in a call that has come to its end: the agent was answered, so it goes by that. */
export function takeOwnCall(draft: Draft, { tool, said }: OwnCall): void {
  if (draft.state.phase !== "prompting") return;
  switch (said?.tool) {
    case undefined:
      return ignore(draft, `The agent called ${tool} and passed nothing that the tool takes.`);
    case "submit_plan":
      if (draft.spec.plans !== true) return ignore(draft, "The agent handed in a plan, and was not asked for one.");
      draft.state.handedIn = said.plan;
      return;
    case "ask_user":
      return takeQuestion(draft, said.question);
    case "report_progress":
      return emit(draft, { type: "progress.reported", data: { percentage: said.percentage, message: said.message } });
  }
}

/** It is asked when the turn has ended. */
function takeQuestion(draft: Draft, question: string): void {
  const questions = (draft.state.questions ??= []);
  if (questions.some((asked) => asked.question === question)) return;
  if (questions.length === MAX_QUESTIONS) return ignore(draft, `The agent asked more than ${MAX_QUESTIONS} questions.`);
  questions.push({ offset: draft.offset, question });
}

function ignore(draft: Draft, message: string): void {
  emitAside(draft, { type: "notice", data: { level: "warning", code: "tool-call-ignored", message: `${message} It was ignored.` } });
}

/** What the agent has left to be answered by people, in the order in which it asked. */
export function questionsLeft(state: ConversationState, attempt: number): readonly NewRequest[] {
  return (state.questions ?? []).map(({ offset, question }) => ({
    kind: "question",
    id: `ask_${attempt}_${offset}`,
    offset,
    rpcId: null,
    title: question,
    toolKind: null,
    // Any text will do.
    payload: { fields: [] },
  }));
}

/** The events of these questions. */
export function questionsAsked(requests: readonly NewRequest[]): EventData<"question.asked">[] {
  return requests.map(({ id, title }) => ({ questionId: id, question: title }));
}
