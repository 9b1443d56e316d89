export interface ToolCall {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
}
/** What the model says, and the tools that it asks for; none: it is done. */
export interface Turn {
  readonly say: string;
  readonly calls: readonly ToolCall[];
}

/** What every script reads first in a project that has one. */
export const READ_MANIFEST: Turn = {
  say: "There is a package.json: it says how the project is tested.",
  calls: [{ name: "read_file", input: { path: "package.json" } }],
};

export function updatePlan(entries: readonly (readonly [string, "pending" | "in_progress" | "completed"])[]): ToolCall {
  return { name: "update_plan", input: { entries: entries.map(([content, status]) => ({ content, status })) } };
}
