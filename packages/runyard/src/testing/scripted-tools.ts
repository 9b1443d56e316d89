import type { ModelStep } from "./scripted-model.ts";

/** A tool that a request declares. */
export interface DeclaredTool {
  readonly name: string;
  readonly parameters: { readonly properties?: Readonly<Record<string, ParameterSchema>>; readonly required?: readonly string[] };
}
interface ParameterSchema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
}

export interface ToolCall {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
}

const SHELLS = ["bash", "run_command", "Bash", "shell", "execute"];
const WRITERS = ["write", "write_file", "Write", "create_file"];
const READERS = ["read", "read_file", "Read"];
const EDITORS = ["edit", "edit_file", "Edit", "str_replace"];
const PLANNERS = ["todowrite", "update_plan", "TodoWrite"];
const ASKERS = ["ask_user", "question"];

/** The step in terms of the tools at hand; throws when no declared tool can do it. */
export function toolCalls(step: ModelStep, tools: readonly DeclaredTool[]): ToolCall[] {
  const use = (names: readonly string[], input: Record<string, unknown>): ToolCall => {
    const tool = names.map((name) => tools.find((declared) => declared.name === name)).find((declared) => declared !== undefined);
    if (!tool) throw new Error(`the request declares no tool for this step: it has ${tools.map((declared) => declared.name).join(", ")}`);
    return { name: tool.name, input: fill(tool, input) };
  };
  const calls: ToolCall[] = [];
  if (step.read !== undefined) calls.push(use(READERS, pathIn(step.read)));
  if (step.write) calls.push(use(WRITERS, { ...pathIn(step.write[0]), content: step.write[1] }));
  if (step.edit) calls.push(use(EDITORS, { ...pathIn(step.edit[0]), ...replacement(step.edit[1], step.edit[2]) }));
  if (step.run !== undefined) calls.push(use(SHELLS, { command: step.run, description: "a scripted command" }));
  if (step.plan) calls.push(use(PLANNERS, planIn(step.plan)));
  if (step.ask !== undefined) calls.push(use(ASKERS, { question: step.ask }));
  for (const call of step.calls ?? []) calls.push(call);
  return calls;
}

/** Every name that agents have for the same thing; `fill` leaves those out that a tool does not take. */
function pathIn(path: string): Record<string, unknown> {
  return { path, filePath: path, file_path: path };
}

function replacement(from: string, to: string): Record<string, unknown> {
  return { old_text: from, new_text: to, oldString: from, newString: to, old_string: from, new_string: to };
}

function planIn(plan: NonNullable<ModelStep["plan"]>): Record<string, unknown> {
  const entries = Object.entries(plan).map(([content, status]) => ({ content, status, priority: "medium" }));
  const bare = entries.map(({ content, status }) => ({ content, status }));
  return { todos: entries, entries: bare, plan: bare };
}

/** Only what the tool's schema knows, and something for what it requires besides. */
function fill(tool: DeclaredTool, input: Record<string, unknown>): Record<string, unknown> {
  const properties = tool.parameters.properties ?? {};
  const known = Object.entries(input).filter(([name]) => name in properties);
  const missing = (tool.parameters.required ?? []).filter((name) => !(name in input)).map((name) => [name, placeholder(properties[name])]);
  return Object.fromEntries([...known, ...missing]) as Record<string, unknown>;
}

function placeholder(schema: ParameterSchema | undefined): unknown {
  if (schema?.enum?.length) return schema.enum[0];
  if (schema?.type === "boolean") return false;
  if (schema?.type === "number" || schema?.type === "integer") return 1;
  return schema?.type === "array" ? [] : "scripted";
}
