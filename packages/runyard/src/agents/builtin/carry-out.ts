import { randomUUID } from "node:crypto";
import type { ToolCallContent, ToolCallLocation } from "@agentclientprotocol/sdk";
import type { ToolResultPart } from "ai";
import type { RequestedCall } from "./ask-model.ts";
import type { ClientLink } from "./client-link.ts";
import { cutMiddle, cutStrings } from "./text.ts";
import { problemText, ToolProblem } from "./tools/problem.ts";
import { textContent, type AgentTool, type ToolContext, type ToolOutcome } from "./tools/tool.ts";

/** What people see of a tool's text; the model gets all of it. */
const SHOWN_BYTES = 4 * 1024;
const CANCELLED = "Not carried out: the turn was cancelled.";

export interface CallSurroundings {
  readonly root: string;
  readonly further: readonly string[];
  readonly tools: Readonly<Record<string, AgentTool<unknown>>>;
  readonly link: ClientLink;
  readonly signal: AbortSignal;
}

/** A call with the id that the client knows it by: those of models may come twice in a conversation. */
interface ShownCall extends RequestedCall {
  readonly shownId: string;
}

/** Carries out one call, shows its course to the client and returns what the model reads. Never throws. */
export async function carryOut(requested: RequestedCall, surroundings: CallSurroundings): Promise<ToolResultPart> {
  if (surroundings.signal.aborted) return notCarriedOut(requested, CANCELLED);
  const call = { ...requested, shownId: randomUUID() };
  // Models call any name, those that every object has as well.
  const { tools } = surroundings;
  const tool = Object.hasOwn(tools, call.toolName) ? tools[call.toolName] : undefined;
  announce(call, tool, surroundings.link);
  const outcome = await attempt(call, tool, surroundings).catch((error: unknown) => ({
    text: surroundings.signal.aborted ? CANCELLED : problemText(error),
    failed: true,
  }));
  conclude(call, outcome, surroundings.link);
  return resultPart(call, outcome);
}

/** The result of a call that is not carried out, so that the conversation stays complete. */
export function notCarriedOut(call: RequestedCall, why: string): ToolResultPart {
  return resultPart(call, { text: why, failed: true });
}

function announce(call: ShownCall, tool: AgentTool<unknown> | undefined, link: ClientLink): void {
  link.update({
    sessionUpdate: "tool_call",
    toolCallId: call.shownId,
    name: call.toolName,
    title: tool === undefined || call.problem !== null ? call.toolName : tool.title(call.input),
    kind: tool?.kind ?? "other",
    status: "pending",
    // A plan is read from the call that hands it in.
    rawInput: tool?.kind === "switch_mode" ? call.input : cutStrings(call.input),
  });
}

async function attempt(call: ShownCall, tool: AgentTool<unknown> | undefined, surroundings: CallSurroundings): Promise<ToolOutcome> {
  if (call.problem !== null || tool === undefined) throw new ToolProblem(call.problem ?? `There is no tool ${call.toolName}.`);
  const { link, signal } = surroundings;
  const prepared = await tool.prepare(call.input, contextOf(call, surroundings));
  const shown = { ...(prepared.content && { content: prepared.content }), ...(prepared.locations && { locations: prepared.locations }) };
  if (tool.needsPermission) await needPermission(call, { tool, shown, surroundings });
  link.update({ sessionUpdate: "tool_call_update", toolCallId: call.shownId, status: "in_progress", ...shown });
  signal.throwIfAborted();
  const outcome = await prepared.run();
  return prepared.content === undefined || outcome.content !== undefined ? outcome : { ...outcome, content: prepared.content };
}

interface Shown {
  readonly content?: ToolCallContent[];
  readonly locations?: ToolCallLocation[];
}

async function needPermission(
  call: ShownCall,
  details: { tool: AgentTool<unknown>; shown: Shown; surroundings: CallSurroundings },
): Promise<void> {
  const { tool, shown, surroundings } = details;
  const { shownId: toolCallId } = call;
  const asked = {
    toolCallId,
    title: tool.title(call.input),
    kind: tool.kind,
    status: "pending" as const,
    // Whoever decides about a command must know all of it.
    rawInput: tool.kind === "execute" ? call.input : cutStrings(call.input),
    ...shown,
  };
  const { isAllowed, reason } = await surroundings.link.requestPermission(asked, surroundings.signal);
  if (!isAllowed) {
    throw new ToolProblem(
      `This call was refused and not carried out. ${reason ?? "A person or the rules of this run refused it."} Do not try the same by another way: go on without it, or say in your summary why you cannot.`,
    );
  }
}

function contextOf(call: ShownCall, surroundings: CallSurroundings): ToolContext {
  const { link, root, further, signal } = surroundings;
  const { shownId: toolCallId } = call;
  return {
    root,
    further,
    toolCallId,
    signal,
    show: (content) => link.update({ sessionUpdate: "tool_call_update", toolCallId, content }),
    showPlan: (entries) => link.update({ sessionUpdate: "plan", entries: entries.map((entry) => ({ ...entry, priority: "medium" })) }),
    askPerson: (text) => link.askPerson({ toolCallId, text }, signal),
  };
}

function conclude(call: ShownCall, outcome: ToolOutcome, link: ClientLink): void {
  link.update({
    sessionUpdate: "tool_call_update",
    toolCallId: call.shownId,
    status: outcome.failed === true ? "failed" : "completed",
    content: outcome.content ?? textContent(cutMiddle(outcome.text, SHOWN_BYTES)),
    ...(outcome.rawOutput && { rawOutput: outcome.rawOutput }),
  });
}

function resultPart(call: RequestedCall, outcome: ToolOutcome): ToolResultPart {
  const output = { type: outcome.failed === true ? ("error-text" as const) : ("text" as const), value: outcome.text };
  return { type: "tool-result", toolCallId: call.toolCallId, toolName: call.toolName, output };
}
