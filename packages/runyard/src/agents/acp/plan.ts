import type { EventData, ToolKind } from "@runyard/sdk/contract";
import { MAX_HANDED_IN_CHARS } from "../run-tools/calls.ts";
import { emit, type Draft } from "./draft.ts";
import { cutText, readArray, readLabel, readObject, readText, readWord, type Json, type JsonObject } from "./json.ts";

const MAX_ENTRIES = 200;
const MAX_ENTRY_CHARS = 2_000;

type PlanEntries = EventData<"plan.updated">["entries"];

/** Takes over a plan; an unchanged one makes no event. */
export function updatePlan(draft: Draft, entries: Json | undefined): void {
  const plan = readEntries(entries);
  if (JSON.stringify(plan) === JSON.stringify(draft.state.plan)) return;
  draft.state.plan = plan;
  emit(draft, { type: "plan.updated", data: { entries: plan } });
}

/** For agents that keep their plan with a tool of theirs and never send it as a plan. */
export function updatePlanFromTool(draft: Draft, call: JsonObject, title: string): void {
  const planTool = draft.spec.profileQuirks?.planTool;
  const todos = readObject(call["rawInput"])?.["todos"];
  if (planTool === undefined || title !== planTool || !Array.isArray(todos)) return;
  updatePlan(draft, todos);
}

/** A tool call that asks to leave the planning, with the plan: how agents with a plan mode hand one in. */
export function takePlan(draft: Draft, call: JsonObject, kind: ToolKind): void {
  const plan = readText(readObject(call["rawInput"])?.["plan"]);
  if (draft.spec.plans !== true || kind !== "switch_mode" || plan === null || plan.trim() === "") return;
  draft.state.handedIn = cutText(plan, MAX_HANDED_IN_CHARS);
}

/** Entries without content, and those that were called off, are no part of a plan. */
function readEntries(value: Json | undefined): PlanEntries {
  const entries = readArray(value).flatMap((item) => {
    const entry = readObject(item);
    const content = readLabel(entry?.["content"], MAX_ENTRY_CHARS);
    if (content === null || entry?.["status"] === "cancelled") return [];
    const status = readWord(entry?.["status"], ["pending", "in_progress", "completed"]) ?? "pending";
    return [{ content, status, priority: readWord(entry?.["priority"], ["high", "medium", "low"]) ?? "medium" }];
  });
  return entries.slice(0, MAX_ENTRIES);
}
