import type { EventData, RunEvent } from "@runyard/sdk/contract";
import { oneLine, type Paint, printable } from "./output.ts";

/** Lines of a run's log for people; text that streams in is shown as it comes. */
export interface EventRenderer {
  /** What to write for an event: whole lines, or the next piece of a message without a line end. */
  render(event: RunEvent): string;
}

/**
 * Keeps only what the next line depends on: whether the cursor stands in the middle of a message, and
 * which tool calls were shown.
 */
export function eventRenderer(paint: Paint, options: { readonly verbose: boolean }): EventRenderer {
  let openMessage: string | null = null;
  const endMessage = (): string => {
    const end = openMessage === null ? "" : "\n";
    openMessage = null;
    return end;
  };

  return {
    render(event) {
      if (event.type === "message.delta") return renderDelta(event.data);
      if (event.type === "message.completed") return event.data.messageId === openMessage ? endMessage() : "";
      const lines = renderLine(event, paint, options);
      return lines === "" ? "" : `${endMessage()}${lines}\n`;
    },
  };

  function renderDelta(data: EventData<"message.delta">): string {
    if (data.kind === "thought" && !options.verbose) return "";
    const begin = openMessage === data.messageId ? "" : `${endMessage()}  `;
    openMessage = data.messageId;
    const text = printable(data.text).replaceAll("\n", "\n  ");
    return begin + (data.kind === "thought" ? paint("dim", text) : text);
  }
}

function renderLine(event: RunEvent, paint: Paint, options: { readonly verbose: boolean }): string {
  switch (event.type) {
    case "run.phase":
      return paint(["bold", "cyan"], `▸ ${event.data.phase}`);
    case "sandbox.ready":
      return paint("dim", `  sandbox ${describeSandbox(event.data.sandbox)}`);
    case "agent.started":
      return paint("dim", `  agent ${[event.data.name, event.data.version].filter(Boolean).join(" ") || "started"}`);
    case "plan.updated":
      return event.data.entries.map((entry) => `  ${planMark(entry.status, paint)} ${oneLine(entry.content)}`).join("\n");
    case "tool.finished":
      return event.data.kind === "think" ? "" : renderTool(event.data, paint);
    case "permission.requested":
      return event.data.decidedBy === "person" ? paint("yellow", `  ? the agent asks permission: ${oneLine(event.data.title)}`) : "";
    case "permission.resolved":
      return event.data.by === "person" || event.data.decision !== "allow"
        ? `  ${paint("yellow", `permission ${event.data.decision} (${event.data.by})`)}`
        : "";
    case "question.asked":
      return paint("yellow", `  ? ${oneLine(event.data.question, 400)}`);
    case "question.answered":
      return event.data.answer === null ? "" : `  ${paint("yellow", "answer:")} ${oneLine(event.data.answer, 400)}`;
    case "notice":
      return paint("yellow", `  ! ${oneLine(event.data.message, 300)}`);
    case "log":
      return options.verbose ? paint("dim", `  | ${oneLine(event.data.text, 200)}`) : "";
    default:
      return "";
  }
}

function planMark(status: "pending" | "in_progress" | "completed", paint: Paint): string {
  if (status === "completed") return paint("green", "✓");
  return status === "in_progress" ? paint("cyan", "→") : paint("dim", "·");
}

function renderTool(data: EventData<"tool.finished">, paint: Paint): string {
  const failed = data.status === "failed" || (data.exitCode !== null && data.exitCode !== 0);
  const mark = failed ? paint("red", "✗") : paint("green", "✓");
  const exit = data.exitCode === null ? "" : paint(failed ? "red" : "dim", `  exit ${data.exitCode}`);
  return `  ${mark} ${paint("dim", data.kind.padEnd(7))} ${oneLine(data.title)}${exit}`;
}

export function describeSandbox(sandbox: EventData<"sandbox.ready">["sandbox"]): string {
  if (sandbox.isolation.filesystem === "none") return `${sandbox.driver}: NO ISOLATION, the agent can do what you can do`;
  const { granted } = sandbox;
  const limits = [
    granted.memoryBytes === null ? "memory not limited" : `${(granted.memoryBytes / 1024 ** 3).toFixed(1)} GB`,
    granted.cpus === null ? "cpu not limited" : `${granted.cpus} cpu`,
    granted.pids === null ? "processes not limited" : `${granted.pids} processes`,
  ];
  return `${sandbox.driver}, no network but the model, ${limits.join(", ")}`;
}
