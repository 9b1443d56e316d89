import { decidedBy, type EventData, type RunEvent, ruleWords, secretUsedWords, shellWords, spentWords } from "@runyard/sdk/contract";
import { oneLine, type Paint, printable } from "./output.ts";
import { renderApprovalEvent } from "./render-approval.ts";
import { renderAttemptEvent } from "./render-attempts.ts";
import { renderBaseEvent } from "./render-base.ts";
import { renderChecksEvent } from "./render-checks.ts";
import { renderSetupEvent } from "./render-setup.ts";
import { renderPlanEvent } from "./render-plan.ts";
import { renderReplayEvent } from "./render-replay.ts";
import { createWrapper, wrapBehind, type Wrapper } from "./text.ts";

/** Lines of a run's log for people; text that streams in is shown as it comes. */
export interface EventRenderer {
  /** What to write for an event: whole lines, or the next piece of a message without a line end. */
  render(event: RunEvent): string;
}

export interface RenderOptions {
  /** Thoughts and the agent's stray output too. */
  readonly verbose: boolean;
  /** Columns; Infinity: nothing is wrapped. */
  readonly width: number;
}

/** Longest title of a tool call that is shown, in characters: a command may hold a whole file. */
const TITLE_CHARS = 400;

/** Keeps only what the next line depends on: the message that is open. */
export function eventRenderer(paint: Paint, options: RenderOptions): EventRenderer {
  let open: { readonly messageId: string; readonly wrapper: Wrapper; readonly style: (text: string) => string } | null = null;

  const endMessage = (): string => {
    const end = open === null ? "" : `${open.style(open.wrapper.end())}\n`;
    open = null;
    return end;
  };
  const renderDelta = (data: EventData<"message.delta">): string => {
    const isThought = data.kind === "thought";
    if (isThought && !options.verbose) return "";
    let begin = "";
    if (open?.messageId !== data.messageId) {
      begin = endMessage();
      const style = (text: string): string => (isThought && text !== "" ? paint("dim", text) : text);
      open = { messageId: data.messageId, wrapper: createWrapper({ width: options.width, indent: "  " }), style };
    }
    return begin + open.style(open.wrapper.push(printable(data.text)));
  };

  return {
    render(event) {
      if (event.type === "message.delta") return renderDelta(event.data);
      if (event.type === "message.completed") return event.data.messageId === open?.messageId ? endMessage() : "";
      const lines = renderLine(event, paint, options);
      return lines === "" ? "" : `${endMessage()}${lines}\n`;
    },
  };
}

function renderLine(event: RunEvent, paint: Paint, options: RenderOptions): string {
  const behind = (heading: string, text: string): string => wrapBehind(`  ${heading} `, text, options.width);
  switch (event.type) {
    case "message.user":
      // The first one is the task, which stands in the head of the run.
      return event.turn === 1 ? "" : behind(paint("bold", `turn ${event.turn}`), oneLine(event.data.text, TITLE_CHARS));
    case "run.phase":
      return paint(["bold", "cyan"], `▸ ${event.data.phase}`);
    case "sandbox.ready":
      return behind(paint("dim", "sandbox"), describeSandbox(event.data.sandbox));
    case "agent.started":
      return behind(paint("dim", "agent  "), [event.data.name, event.data.version].filter(Boolean).join(" ") || "started");
    case "plan.updated":
      return event.data.entries.map((entry) => behind(planMark(entry.status, paint), oneLine(entry.content, 300))).join("\n");
    case "progress.reported":
      return behind(paint("cyan", `${event.data.percentage} %`), oneLine(event.data.message, 300));
    case "tool.finished":
      return event.data.kind === "think" ? "" : renderTool(event.data, paint, options.width);
    case "permission.requested":
      return event.data.decidedBy === "person"
        ? behind(paint("yellow", "?"), `the agent asks permission: ${oneLine(event.data.title, TITLE_CHARS)}`)
        : "";
    case "permission.resolved":
      return event.data.by === "person" || event.data.decision !== "allow"
        ? `  ${paint("yellow", `permission ${event.data.decision} (${oneLine(decidedBy(event.data))})`)}`
        : "";
    case "permission.rule_added":
      return behind(paint("yellow", "remembered for this run:"), oneLine(ruleWords(event.data.rule), TITLE_CHARS));
    case "question.asked":
      return behind(paint("yellow", "?"), printable(event.data.question));
    case "question.answered":
      return event.data.answer === null ? "" : behind(paint("yellow", "answer:"), printable(event.data.answer));
    case "notice":
      return behind(paint("yellow", "!"), printable(event.data.message).trim());
    case "egress.denied":
      return behind(paint("yellow", "!"), `refused to reach ${printable(event.data.target)}: ${printable(event.data.reason)}`);
    case "secret.used":
      return behind(paint("dim", "·"), printable(secretUsedWords(event.data)));
    case "budget.warned":
      return behind(paint("yellow", "!"), `four fifths of the budget are spent: ${spentWords(event.data)}`);
    case "budget.exceeded":
      return behind(paint("red", "!"), printable(event.data.message));
    case "shell.opened":
      return behind(paint("yellow", "!"), oneLine(shellWords(event.data)));
    case "log":
      return options.verbose ? behind(paint("dim", "|"), oneLine(event.data.text, 400)) : "";
    default:
      return (
        renderAttemptEvent(event, paint, options.width) ??
        renderBaseEvent(event, paint, options.width) ??
        renderChecksEvent(event, paint, options.width) ??
        renderSetupEvent(event, paint, options.width) ??
        renderPlanEvent(event, paint, options.width) ??
        renderApprovalEvent(event, paint, options.width) ??
        renderReplayEvent(event, paint, options.width) ??
        ""
      );
  }
}

function planMark(status: "pending" | "in_progress" | "completed", paint: Paint): string {
  if (status === "completed") return paint("green", "✓");
  return status === "in_progress" ? paint("cyan", "→") : paint("dim", "·");
}

function renderTool(data: EventData<"tool.finished">, paint: Paint, width: number): string {
  const failed = data.status === "failed" || (data.exitCode !== null && data.exitCode !== 0);
  const mark = failed ? paint("red", "✗") : paint("green", "✓");
  const exit = data.exitCode === null ? "" : `  ${paint(failed ? "red" : "dim", `exit\u00a0${data.exitCode}`)}`;
  const title = oneLine(data.title, TITLE_CHARS) + exit;
  return wrapBehind(`  ${mark} ${paint("dim", data.kind.padEnd(7))} `, title, width).replaceAll("\u00a0", " ");
}

export function describeSandbox(sandbox: EventData<"sandbox.ready">["sandbox"]): string {
  if (sandbox.isolation.filesystem === "none") return `${sandbox.driver}: NO ISOLATION, the agent can do what you can do`;
  const { granted } = sandbox;
  const limits = [
    granted.memoryBytes === null ? "memory not limited" : `${(granted.memoryBytes / 1024 ** 3).toFixed(1)} GB`,
    granted.cpus === null ? "cpu not limited" : `${granted.cpus} cpu`,
    granted.pids === null ? "processes not limited" : `${granted.pids} processes`,
  ];
  const network = sandbox.egress === undefined ? "no network but the model" : `no network but the model and ${sandbox.egress.join(", ")}`;
  const floor = sandbox.floor === undefined ? "" : `, floor ${sandbox.floor}`;
  return `${sandbox.driver}, ${network}, ${limits.join(", ")}${floor}`;
}
