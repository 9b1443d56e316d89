import type { ToolCallContent, ToolCallLocation, ToolKind } from "@agentclientprotocol/sdk";
import type { FlexibleSchema } from "ai";

/** What a tool needs of the turn that it runs in. */
export interface ToolContext {
  /** Real path of the workspace. */
  readonly root: string;
  /** Real paths of the folders that belong to it beside it. */
  readonly further: readonly string[];
  readonly toolCallId: string;
  readonly signal: AbortSignal;
  /** Shows the content of the call so far, in place of what was shown before. */
  show(content: ToolCallContent[]): void;
  showPlan(entries: readonly { content: string; status: "pending" | "in_progress" | "completed" }[]): void;
  /** The person's answer; null when they gave none; undefined when nobody can be asked. */
  askPerson(question: string): Promise<string | null | undefined>;
}

export interface ToolOutcome {
  /** What the model reads. */
  readonly text: string;
  readonly failed?: boolean;
  /** What people see, where that differs from the text. */
  readonly content?: ToolCallContent[];
  readonly rawOutput?: Record<string, unknown>;
}

/** A call that has been looked at and not been carried out. */
export interface PreparedCall {
  /** What a person sees before the call is carried out: the change that it would make. */
  readonly content?: ToolCallContent[];
  readonly locations?: ToolCallLocation[];
  run(): Promise<ToolOutcome>;
}

export interface AgentTool<Input> {
  readonly description: string;
  readonly inputSchema: FlexibleSchema<Input>;
  readonly kind: ToolKind;
  /** True for tools that change something: the client is asked first. */
  readonly needsPermission: boolean;
  title(input: Input): string;
  /** Looks at the call without changing anything; throws a `ToolProblem` when it cannot work. */
  prepare(input: Input, context: ToolContext): Promise<PreparedCall>;
}

/** Checks a tool's parts against its schema, and hides the type of its input from the list of tools. */
export function defineTool<Input>(tool: AgentTool<Input>): AgentTool<unknown> {
  return tool;
}

export function textContent(text: string): ToolCallContent[] {
  return [{ type: "content", content: { type: "text", text } }];
}
