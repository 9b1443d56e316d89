import type { NewEvent } from "@runyard/sdk/contract";
import { type AskedCall, decidePermission, type PolicyDecision } from "../../core/permission-decision.ts";
import { readAskedCall } from "./asked-call.ts";
import { emit, rpcLine, type Draft } from "./draft.ts";
import { OWN_CALLS_RULE } from "./own-calls.ts";
import { cutText, readArray, readLabel, readObject, readText, type Json, type JsonObject } from "./json.ts";
import type { NewRequest } from "./state.ts";
import { applyToolCall, findOwnCall, findTool, MAX_TITLE_CHARS, readToolId, readToolKind, type ToolView } from "./tools.ts";

const MAX_OPTIONS = 32;
const MAX_OPTION_CHARS = 1_000;
/** A person must see the whole of a command before consenting to it, so this is generous. */
const MAX_COMMAND_CHARS = 20_000;

interface Option {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
}

/** Who decided: the policy, by a rule, or a person. */
type Decider = { readonly by: "policy"; readonly rule?: string } | ({ readonly by: "person" } & Person);

/** A person who answers, with the name that others see. */
export interface Person {
  readonly userId: string;
  readonly userName?: string;
}

/** A line for the agent and the event that goes with it. */
export interface Answer {
  readonly line: string;
  readonly event: NewEvent;
}

export interface PermissionAnswer extends Answer {
  /** The option that was taken; null where none of those offered says what was decided. */
  readonly optionId: string | null;
}

/** Where a request stands in the agent's journal, and the agent's own id for it. */
export interface RequestPlace {
  readonly offset: number;
  readonly rpcId: string | number | null;
}

/** A request for permission: the policy answers it at once, or it waits for a person. */
export function receivePermission(draft: Draft, params: JsonObject, place: RequestPlace): void {
  const call = readObject(params["toolCall"]) ?? {};
  applyToolCall(draft, call, "permission");
  const toolCallId = readToolId(call);
  const known = findTool(draft, toolCallId);
  const toolKind = readToolKind(call["kind"]) ?? known?.kind ?? "other";
  const options = readOptions(params["options"]);
  const id = `perm_${draft.spec.attempt}_${place.offset}`;
  const title = permissionTitle(call, known);
  const { cwd, additionalDirectories: further = [], profileQuirks } = draft.spec;
  const titleIsCommand = profileQuirks?.titleIsCommand ?? false;
  const asked = readAskedCall(call, { kind: toolKind, known, workspace: cwd, further, titleIsCommand });
  const { verdict, rule } = decide(draft, call, asked);
  emit(draft, {
    type: "permission.requested",
    data: {
      permissionId: id,
      toolCallId: toolCallId ?? "",
      title,
      kind: toolKind,
      decidedBy: verdict === "ask" ? "person" : "policy",
      options: [...options],
    },
  });
  const request: NewRequest = {
    kind: "permission",
    id,
    ...place,
    title,
    toolKind,
    payload: { options: options.map((option) => ({ ...option })), call: { ...asked } },
  };
  if (verdict === "ask") {
    draft.requests.push(request);
    return;
  }
  const answer = answerPermission(request, verdict, { by: "policy", rule });
  emit(draft, answer.event);
  draft.lines.push(answer.line);
}

/** Runyard's own tools change nothing. They are known by what is passed too, where agents tell it, so that no other call is let through by its name. */
function decide(draft: Draft, call: JsonObject, asked: AskedCall): PolicyDecision {
  const own = findOwnCall(draft, readToolId(call));
  const isTold = own?.said != null || (draft.spec.profileQuirks?.tellsNoInput === true && call["rawInput"] === undefined);
  const isOwn = own !== null && isTold && asked.command === null && asked.paths.length === 0 && asked.isWhole;
  return isOwn ? { verdict: "allow", rule: OWN_CALLS_RULE } : decidePermission(draft.spec.policy, asked);
}

/** The answer of a person: `allow` once or `deny` once, by the option that comes nearest to it. */
export function permissionAnswer(request: NewRequest, decision: "allow" | "deny", person: Person): PermissionAnswer {
  return answerPermission(request, decision, { by: "person", ...person });
}

/** The answer to a permission that nobody decides any more. */
export function cancelledPermission(request: NewRequest): PermissionAnswer {
  return respond(request, { decision: "cancelled", optionId: null }, { by: "policy" });
}

function answerPermission(request: NewRequest, decided: "allow" | "deny", decider: Decider): PermissionAnswer {
  const optionId = chooseOption(readOptions(readObject(request.payload)?.["options"]), decided);
  // Consent that cannot be given is no consent; a refusal stays one, because `cancelled` refuses too.
  const decision = optionId === null && decided === "allow" ? "cancelled" : decided;
  return respond(request, { decision, optionId }, decider);
}

function respond(
  request: NewRequest,
  made: { readonly decision: "allow" | "deny" | "cancelled"; readonly optionId: string | null },
  decider: Decider,
): PermissionAnswer {
  const outcome = made.optionId === null ? { outcome: "cancelled" } : { outcome: "selected", optionId: made.optionId };
  const result = made.decision === "deny" ? { outcome, _meta: { [REASON_KEY]: refusalWords(decider) } } : { outcome };
  return {
    line: rpcLine({ id: request.rpcId, result }),
    event: { type: "permission.resolved", data: { permissionId: request.id, ...made, ...decider } },
    optionId: made.optionId,
  };
}

/** ACP has no words for a refusal; this is the place that it leaves for what it has no word for. */
const REASON_KEY = "runyard/reason";

function refusalWords(decider: Decider): string {
  if (decider.by === "person") return "A person refused this.";
  return decider.rule === "default"
    ? "The permission policy of this run refuses what it does not allow."
    : `The permission policy of this run refuses this, by its rule ${JSON.stringify(decider.rule)}.`;
}

/** Once before always; never an option that says the opposite, and none whose kind nobody knows. */
function chooseOption(options: readonly Option[], decision: "allow" | "deny"): string | null {
  const kinds = decision === "allow" ? ["allow_once", "allow_always"] : ["reject_once", "reject_always"];
  for (const kind of kinds) {
    const option = options.find((offered) => offered.kind === kind);
    if (option) return option.id;
  }
  return null;
}

/** Option ids are echoed, so they are kept whole: an option with an id that is no text cannot be taken. */
function readOptions(value: Json | undefined): readonly Option[] {
  const options = readArray(value).flatMap((item) => {
    const option = readObject(item);
    const id = option?.["optionId"] ?? option?.["id"];
    if (typeof id !== "string") return [];
    const kind = readLabel(option?.["kind"], MAX_OPTION_CHARS) ?? "";
    return [{ id, kind, name: readLabel(option?.["name"], MAX_OPTION_CHARS) ?? id }];
  });
  return options.slice(0, MAX_OPTIONS);
}

/** The agent's words, and what it is about (the command itself, the files) where those do not say it. */
function permissionTitle(call: JsonObject, known: ToolView | null): string {
  const title = readLabel(call["title"], MAX_COMMAND_CHARS) ?? known?.title ?? readToolId(call) ?? "a tool call without a name";
  const command = readText(readObject(call["rawInput"])?.["command"]);
  const subject = command !== null && command.trim() !== "" ? [command] : (known?.locations ?? []);
  const unsaid = subject.filter((words) => !title.includes(words));
  if (unsaid.length === 0) return title;
  return `${cutText(title, MAX_TITLE_CHARS)}\n${cutText(unsaid.join("\n"), MAX_COMMAND_CHARS)}`;
}
