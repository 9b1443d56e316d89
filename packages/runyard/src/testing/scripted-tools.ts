import type { ModelStep } from "./scripted-model.ts";

/** A tool that a request declares. */
export interface DeclaredTool {
  readonly name: string;
  /** Takes free text, which stands in the call's input as `text`. */
  readonly isFreeText?: boolean;
  readonly namespace?: string | undefined;
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

const SHELLS = ["bash", "run_command", "Bash", "shell", "execute", "exec_command", "run_shell_command"];
const WRITERS = ["write", "write_file", "Write", "create_file"];
const READERS = ["read", "read_file", "Read"];
const EDITORS = ["edit", "edit_file", "Edit", "str_replace", "replace"];
const PLANNERS = ["todowrite", "update_plan", "TodoWrite", "write_todos"];
const ASKERS = ["ask_user", "question"];
/** Codex's one tool for changes to files. */
const PATCHERS = ["apply_patch"];

/** The step in terms of the tools at hand; throws when no declared tool can do it. */
export function toolCalls(step: ModelStep, tools: readonly DeclaredTool[]): ToolCall[] {
  const find = (names: readonly string[]): DeclaredTool | undefined =>
    names.map((name) => tools.find((declared) => declared.name === name)).find((declared) => declared !== undefined);
  const use = (names: readonly string[], input: Record<string, unknown>): ToolCall => {
    const tool = find(names);
    if (!tool) throw new Error(`the request declares no tool for this step: it has ${tools.map((declared) => declared.name).join(", ")}`);
    return { name: tool.name, input: fill(tool, input) };
  };
  const run = (command: string): ToolCall => use(SHELLS, { command, cmd: command, description: "a scripted command" });
  const patch = (lines: readonly string[]): ToolCall => {
    const text = ["*** Begin Patch", ...lines, "*** End Patch", ""].join("\n");
    return find(PATCHERS) ? use(PATCHERS, { text }) : run(`apply_patch <<'EOF'\n${text}EOF`);
  };
  const calls: ToolCall[] = [];
  if (step.read !== undefined) calls.push(find(READERS) ? use(READERS, pathIn(step.read)) : run(`cat ${step.read}`));
  if (step.write) {
    const [path, content] = step.write;
    calls.push(find(WRITERS) ? use(WRITERS, { ...pathIn(path), content }) : patch([`*** Add File: ${path}`, ...marked("+", content)]));
  }
  if (step.edit) {
    const [path, from, to] = step.edit;
    const change = [`*** Update File: ${path}`, "@@", ...marked("-", from), ...marked("+", to)];
    calls.push(find(EDITORS) ? use(EDITORS, { ...pathIn(path), ...replacement(from, to) }) : patch(change));
  }
  if (step.run !== undefined) calls.push(run(step.run));
  if (step.plan) calls.push(use(PLANNERS, planIn(step.plan)));
  if (step.ask !== undefined) calls.push(use(ASKERS, { question: step.ask }));
  for (const call of step.calls ?? []) calls.push(call);
  return calls;
}

/** The lines of a text as a patch has them. */
function marked(mark: "+" | "-", text: string): string[] {
  return text
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => mark + line);
}

/** Every name that agents have for the same thing; `fill` leaves those out that a tool does not take. */
function pathIn(path: string): Record<string, unknown> {
  return { path, filePath: path, file_path: path, absolute_path: path };
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
  if (tool.isFreeText === true) return input;
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
