import { TOOL_KINDS, type EventData, type ToolKind } from "@runyard/sdk/contract";
import { emit, type Draft } from "./draft.ts";
import { cutText, readArray, readInteger, readLabel, readObject, readText, readWord, type Json, type JsonObject } from "./json.ts";
import { readOwnCall, takeOwnCall } from "./own-calls.ts";
import { takePlan, updatePlanFromTool } from "./plan.ts";
import type { OpenTool, OwnCall } from "./state.ts";

export type ToolView = EventData<"tool.started">;

/** Longest output of a tool that is kept, in characters (UTF-16 units). */
export const MAX_OUTPUT_CHARS = 65_536;
/** Most open tool calls that are remembered; beyond, the oldest is forgotten. */
export const MAX_OPEN_TOOLS = 32;
const MAX_FINISHED_TOOLS = 64;
const MAX_ID_CHARS = 512;
export const MAX_TITLE_CHARS = 2_000;
export const MAX_LOCATIONS = 64;
export const MAX_DIFFS = 32;
const MAX_PATH_CHARS = 4_096;
const STATUSES = ["pending", "in_progress", "completed", "failed"] as const;

/** `call` announces a tool call, `update` changes one, `permission` describes one that waits for consent. */
type Source = "call" | "update" | "permission";

/** ACP's kind, or null where there is none; kinds that nobody knows are `other`. */
export function readToolKind(value: Json | undefined): ToolKind | null {
  return typeof value === "string" ? (readWord(value, TOOL_KINDS) ?? "other") : null;
}

export function readToolId(call: JsonObject): string | null {
  return readLabel(call["toolCallId"], MAX_ID_CHARS);
}

export function findTool(draft: Draft, toolCallId: string | null): ToolView | null {
  return draft.state.tools.find((tool) => tool.view.toolCallId === toolCallId)?.view ?? null;
}

/** What is known of a call of one of Runyard's tools; null for any other call. */
export function findOwnCall(draft: Draft, toolCallId: string | null): OwnCall | null {
  return draft.state.tools.find((tool) => tool.view.toolCallId === toolCallId)?.own ?? null;
}

/** Merges what the agent says of a tool call into what is known of it: an update without a start makes one. */
export function applyToolCall(draft: Draft, call: JsonObject, source: Source): void {
  const toolCallId = readToolId(call);
  if (toolCallId === null || isLate(draft, toolCallId, source)) return;
  draft.state.sawOutput = true;
  const known = draft.state.tools.find((tool) => tool.view.toolCallId === toolCallId);
  const tool = known ?? openTool(draft, toolCallId);
  const before = tool.view;
  tool.view = merge(before, call, { source, isNew: known === undefined });
  const own = readOwnCall(tool.own, call);
  if (own !== undefined) tool.own = own;
  if (!known) emit(draft, { type: "tool.started", data: tool.view });
  updatePlanFromTool(draft, call, known ? before.title : tool.view.title);
  takePlan(draft, call, tool.view.kind);
  if (tool.view.status === "completed" || tool.view.status === "failed") finishTool(draft, tool);
  else if (known) tellChange(draft, tool, before);
}

/** True for an update of a call that has finished. A new call may take an old id, as some models number from 1 in every turn. */
function isLate(draft: Draft, toolCallId: string, source: Source): boolean {
  const finished = draft.state.finishedTools;
  const index = finished.indexOf(toolCallId);
  if (index < 0) return false;
  if (source === "call") finished.splice(index, 1);
  return source !== "call";
}

function openTool(draft: Draft, toolCallId: string): OpenTool {
  const view: ToolView = {
    toolCallId,
    title: toolCallId,
    kind: "other",
    status: "pending",
    output: null,
    exitCode: null,
    diffs: [],
    locations: [],
  };
  const tool: OpenTool = { view, untold: 0 };
  draft.state.tools.push(tool);
  if (draft.state.tools.length > MAX_OPEN_TOOLS) draft.state.tools.shift();
  return tool;
}

function finishTool(draft: Draft, tool: OpenTool): void {
  emit(draft, { type: "tool.finished", data: tool.view });
  draft.state.tools = draft.state.tools.filter((other) => other !== tool);
  draft.state.finishedTools.push(tool.view.toolCallId);
  if (draft.state.finishedTools.length > MAX_FINISHED_TOOLS) draft.state.finishedTools.shift();
  if (tool.own !== undefined && tool.view.status === "completed") takeOwnCall(draft, tool.own);
}

/**
 * Agents send the whole output again with every line that a command prints. Told each time, a log would
 * grow with the square of it; so the longer the output, the more updates go untold: about a kibibyte of
 * log for each. What was not told comes with the next change, at the latest with the end.
 */
function tellChange(draft: Draft, tool: OpenTool, before: ToolView): void {
  if (sameJson(tool.view, before)) return;
  const onlyOutput = sameJson({ ...tool.view, output: null }, { ...before, output: null });
  if (onlyOutput && ++tool.untold < (tool.view.output ?? "").length / 1_024) return;
  tool.untold = 0;
  const last = draft.events.at(-1);
  if (last?.type === "tool.updated" && last.data.toolCallId === tool.view.toolCallId) draft.events.pop();
  emit(draft, { type: "tool.updated", data: tool.view });
}

function sameJson(a: ToolView, b: ToolView): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function merge(view: ToolView, call: JsonObject, how: { readonly source: Source; readonly isNew: boolean }): ToolView {
  const status = how.source === "permission" ? null : readWord(call["status"], STATUSES);
  const content = readArray(call["content"]).map(readObject);
  const diffs = readDiffs(content);
  const locations = readLocations(call["locations"]);
  return {
    toolCallId: view.toolCallId,
    title: mergeTitle(view.title, call, how),
    kind: readToolKind(call["kind"]) ?? view.kind,
    status: status ?? view.status,
    output: readOutput(content, call["rawOutput"]) ?? addTerminalOutput(view.output, call["_meta"]),
    exitCode: readExitCode(call["rawOutput"]) ?? readTerminalExit(call["_meta"]) ?? view.exitCode,
    // Updates that bring neither must not wipe out what a person wants to see at the end.
    diffs: diffs.length > 0 ? diffs : view.diffs,
    locations: locations.length > 0 ? locations : view.locations,
  };
}

/** The words of a permission are made for that question: a call that is known keeps its own. */
function mergeTitle(known: string, call: JsonObject, how: { readonly source: Source; readonly isNew: boolean }): string {
  if (how.source === "permission" && !how.isNew) return known;
  const name = how.isNew ? readLabel(call["name"], MAX_TITLE_CHARS) : null;
  return readLabel(call["title"], MAX_TITLE_CHARS) ?? name ?? known;
}

function readOutput(content: readonly (JsonObject | null)[], rawOutput: Json | undefined): string | null {
  const texts = content.flatMap((item) => (item?.["type"] === "content" ? (readText(readObject(item["content"])?.["text"]) ?? []) : []));
  const raw = readObject(rawOutput);
  const text = texts.length > 0 ? texts.join("\n") : (readText(rawOutput) ?? readText(raw?.["output"]) ?? readText(raw?.["error"]));
  return text === null ? null : cutText(text, MAX_OUTPUT_CHARS);
}

/** Some agents send what a command prints bit by bit beside the call, for a terminal that they show; `known` comes before it. */
function addTerminalOutput(known: string | null, meta: Json | undefined): string | null {
  const metadata = readObject(meta);
  const piece = readObject(metadata?.["terminal_output_delta"] ?? metadata?.["terminal_output"]);
  const text = readText(piece?.["data"]);
  return text === null ? known : cutText((known ?? "") + text, MAX_OUTPUT_CHARS);
}

function readTerminalExit(meta: Json | undefined): number | null {
  return readInteger(readObject(readObject(meta)?.["terminal_exit"])?.["exit_code"]);
}

/** Agents put a command's exit code in different places of what they pass through. */
function readExitCode(rawOutput: Json | undefined): number | null {
  const raw = readObject(rawOutput);
  const metadata = readObject(raw?.["metadata"]);
  return (
    readInteger(raw?.["exitCode"]) ??
    readInteger(raw?.["exit_code"]) ??
    readInteger(metadata?.["exit"]) ??
    readInteger(metadata?.["exitCode"])
  );
}

function readDiffs(content: readonly (JsonObject | null)[]): ToolView["diffs"] {
  const diffs: ToolView["diffs"] = [];
  let room = MAX_OUTPUT_CHARS;
  for (const item of content) {
    const path = item?.["type"] === "diff" ? readLabel(item["path"], MAX_PATH_CHARS) : null;
    if (path === null || diffs.length === MAX_DIFFS) continue;
    const oldText = readText(item?.["oldText"]);
    const diff = {
      path,
      oldText: oldText === null ? null : cutText(oldText, room >> 1),
      newText: cutText(readText(item?.["newText"]) ?? "", room >> 1),
    };
    room -= (diff.oldText ?? "").length + diff.newText.length;
    diffs.push(diff);
  }
  return diffs;
}

function readLocations(value: Json | undefined): string[] {
  return readArray(value)
    .flatMap((item) => readLabel(readObject(item)?.["path"], MAX_PATH_CHARS) ?? [])
    .slice(0, MAX_LOCATIONS);
}
