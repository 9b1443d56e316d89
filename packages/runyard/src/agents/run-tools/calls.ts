import { cutText, readArray, readLabel, readObject, readText, type Json, type JsonObject } from "../acp/json.ts";

/** The name under which agents know the server of these tools; they make the tools' names with it. */
export const RUN_TOOLS_SERVER = "runyard";

/** Tools that every agent gets which has none of its own for these purposes. */
export const RUN_TOOLS = ["submit_plan", "ask_user", "report_progress"] as const;
export type RunTool = (typeof RUN_TOOLS)[number];

/** Longest plan that is kept, in characters: a little more than a stored one has, so that its end is seen to be cut off. */
export const MAX_HANDED_IN_CHARS = 70_000;
const MAX_QUESTION_CHARS = 20_000;
const MAX_MESSAGE_CHARS = 2_000;
/** Of steps and of options. */
const MAX_ITEMS = 100;
const MAX_ITEM_CHARS = 2_000;

/** What the last line of an answer begins with that repeats, as JSON, what was passed: for agents that do not report it. */
export const REPEATED = "This was passed: ";

/** What was said in a call, cut to what is kept of it. */
export type RunToolCall =
  | { readonly tool: "submit_plan"; readonly plan: string }
  | { readonly tool: "ask_user"; readonly question: string }
  | { readonly tool: "report_progress"; readonly percentage: number; readonly message: string };

/** What a call of the tool says; null for arguments that are not the tool's, or not all of them. */
export function readRunToolCall(tool: RunTool, args: Json | undefined): RunToolCall | null {
  const input = readObject(args);
  if (input === null || Object.keys(input).some((name) => !ARGUMENTS[tool].includes(name))) return null;
  switch (tool) {
    case "submit_plan":
      return readPlan(input);
    case "ask_user":
      return readQuestion(input);
    case "report_progress":
      return readProgress(input);
  }
}

const ARGUMENTS: Readonly<Record<RunTool, readonly string[]>> = {
  submit_plan: ["plan", "steps"],
  ask_user: ["question", "options"],
  report_progress: ["percentage", "message"],
};

function readPlan(input: JsonObject): RunToolCall | null {
  const plan = readLabel(input["plan"], MAX_HANDED_IN_CHARS);
  const steps = readItems(input["steps"]);
  return plan === null || steps === null
    ? null
    : { tool: "submit_plan", plan: cutText(withList(plan, "\n\n", steps), MAX_HANDED_IN_CHARS) };
}

function readQuestion(input: JsonObject): RunToolCall | null {
  const question = readLabel(input["question"], MAX_QUESTION_CHARS);
  const options = readItems(input["options"]);
  return question === null || options === null
    ? null
    : { tool: "ask_user", question: cutText(withList(question, "\n", options), MAX_QUESTION_CHARS) };
}

function readProgress(input: JsonObject): RunToolCall | null {
  const { percentage } = input;
  const message = readLabel(input["message"], MAX_MESSAGE_CHARS);
  const isShare = typeof percentage === "number" && percentage >= 0 && percentage <= 100;
  return message === null || !isShare ? null : { tool: "report_progress", percentage: Math.round(percentage), message };
}

/** A list of texts that may be left out; null for anything else. */
function readItems(value: Json | undefined): readonly string[] | null {
  if (value === undefined || value === null) return [];
  const items = readArray(value).map((item) => readText(item));
  if (!Array.isArray(value) || items.includes(null)) return null;
  return items.slice(0, MAX_ITEMS).flatMap((item) => (item === null || item.trim() === "" ? [] : cutText(item, MAX_ITEM_CHARS)));
}

function withList(text: string, between: string, items: readonly string[]): string {
  return items.length === 0 ? text : `${text}${between}${items.map((item) => `- ${item}`).join("\n")}`;
}
