import type { EventData, NewEvent, ToolKind } from "@runyard/sdk/contract";
import type { NormalPolicy } from "../../core/permission-policy.ts";
import type { RunTool, RunToolCall } from "../run-tools/calls.ts";
import type { Json, JsonObject } from "./json.ts";

/** One whole line of the agent's journal and where it begins, or the length of one that was too long to read. */
export type JournalLine = { readonly offset: number; readonly text: string } | { readonly offset: number; readonly tooLongBytes: number };

/** What differs between agents in how they use the protocol. */
export interface ProfileQuirks {
  /** Name of a tool whose `rawInput.todos` is the plan, for agents that send no plan of their own. */
  readonly planTool?: string;
  /** The agent has tools of its own for plans and questions, and is not given Runyard's. */
  readonly hasRunTools?: true;
  /** The agent does not report what it passes to a tool: Runyard's tools repeat it in their answers. */
  readonly tellsNoInput?: true;
  /** Ids of modes: that of a turn that is to make a plan, and that of every other turn. Left out: whichever the agent begins in. */
  readonly modes?: { readonly plan: string; readonly build: string };
  /** `_meta` of what opens a session, for agents that take settings there. */
  readonly sessionMeta?: JsonObject;
  /** Calls of the kind `execute` name their command as their title, and nowhere else. */
  readonly titleIsCommand?: boolean;
}

/** The conversation that a turn goes on with. */
export interface Earlier {
  /** The agent's own id of it; null: there never was one. */
  readonly sessionId: string | null;
  /** The prompt for an agent that does not know of it any more. */
  readonly retold: string;
}

/** A server of the Model Context Protocol in the words of ACP: one that the agent starts, or one that it reaches over HTTP. */
export type AcpMcpServer =
  | {
      readonly name: string;
      readonly command: string;
      readonly args: readonly string[];
      readonly env: readonly { readonly name: string; readonly value: string }[];
    }
  | {
      readonly type: "http";
      readonly name: string;
      readonly url: string;
      readonly headers: readonly { readonly name: string; readonly value: string }[];
    };

/** What a conversation needs to know from outside; the same for all its steps. */
export interface ConversationSpec {
  /** The workspace, as the agent sees it. */
  readonly cwd: string;
  /** Folders that belong to the workspace beside it, as the agent sees them; left out: none. */
  readonly additionalDirectories?: readonly string[];
  readonly prompt: string;
  /** Left out in a run's first turn. */
  readonly earlier?: Earlier;
  /** The agent is to make a plan, and nothing else. */
  readonly plans?: boolean;
  readonly attempt: number;
  /** As it stands when a step is taken: answers that are remembered add to it. */
  readonly policy: NormalPolicy;
  readonly profileQuirks?: ProfileQuirks;
  readonly mcpServers?: readonly AcpMcpServer[];
}

/** A permission or a question that a person must answer. */
export interface NewRequest {
  readonly kind: "permission" | "question";
  /** `perm_<attempt>_<offset>` or `ask_<attempt>_<offset>`: agents reuse their own ids, a byte offset is unique. */
  readonly id: string;
  /** Where the request's line begins in the agent's journal. */
  readonly offset: number;
  /** The agent's id, to be echoed with its JSON type. */
  readonly rpcId: string | number | null;
  readonly title: string;
  /** Null for questions. */
  readonly toolKind: ToolKind | null;
  /** What is needed to answer later: the options offered and the call that they are about, or the fields asked for. */
  readonly payload: Json;
}

/** What one step gives: the next state, and what to store and to send with it, all in one commit. */
export interface Step {
  readonly state: ConversationState;
  readonly events: readonly NewEvent[];
  /** Only those that a person must answer; what the policy answered is in `events` and `lines`. */
  readonly requests: readonly NewRequest[];
  /** Whole JSON lines for the agent, each with its newline. */
  readonly lines: readonly string[];
}

/** How a turn ended: with a stop reason of ACP's, or with an error in the agent's words. */
interface TurnOutcome {
  readonly stopReason: string | null;
  readonly error: string | null;
  /** The agent sent message text, a tool call or usage. */
  readonly sawOutput: boolean;
  /** The agent's last words. */
  readonly lastText: string | null;
}

/** Tokens as the agent tells them at the end of a turn: for some the whole turn, for some its last call. */
interface AgentUsage {
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedInputTokens: number | null;
}

/** How full the model's context is, in tokens. */
interface ContextUsage {
  readonly usedTokens: number;
  readonly sizeTokens: number;
}

/** A call of one of the tools that Runyard gives to agents. */
export interface OwnCall {
  readonly tool: RunTool;
  /** null: the agent has not told what it passed, or it was nothing that the tool takes. */
  readonly said: RunToolCall | null;
}

/** An open tool call: what its events show, merged from all updates, and how many updates of mere output were not told. */
export interface OpenTool {
  view: EventData<"tool.started">;
  untold: number;
  /** Set for a call of one of Runyard's tools. */
  own?: OwnCall;
}

interface OpenMessage {
  readonly id: string;
  readonly kind: "text" | "thought";
  /** The agent's own id for it, where it gives one. */
  readonly agentId: string | null;
  text: string;
}

/** The ways to take up a conversation, the better one first. */
export const REOPENINGS = ["session/resume", "session/load"] as const;
export type Reopening = (typeof REOPENINGS)[number];

export type RpcMethod = "initialize" | "session/new" | Reopening | "session/set_mode" | "session/prompt";

/**
 * Everything that must be known to go on in the middle of a turn. Plain JSON, bounded in size, stored
 * in the run's row after every batch. `ended`: the turn was answered. `broken`: there never was a turn.
 */
export interface ConversationState {
  phase: "initializing" | "opening" | "prompting" | "ended" | "broken";
  agent: { readonly name: string | null; readonly version: string | null };
  sessionId: string | null;
  /** The agent can be told of further folders; left out where it cannot, or there are none. */
  takesDirectories?: boolean;
  /** Ways to take up the earlier conversation that have not been tried; left out where there is none. */
  reopenings?: Reopening[];
  /** The session is the earlier conversation again, while its mode is set; left out otherwise. */
  isReopened?: boolean;
  nextId: number;
  /** Our requests that the agent has not answered. */
  waiting: { readonly id: number; readonly method: RpcMethod }[];
  tools: OpenTool[];
  /** Ids of tool calls that finished last: late updates of those are dropped. */
  finishedTools: string[];
  message: OpenMessage | null;
  messageCount: number;
  plan: EventData<"plan.updated">["entries"];
  /** The plan that was handed in with a tool, in a conversation that is to make one. */
  handedIn?: string;
  /** What the agent asked with a tool that does not wait, and where in its journal it did. */
  questions?: { readonly offset: number; readonly question: string }[];
  usage: AgentUsage | null;
  context: ContextUsage | null;
  /** For the outcome. */
  sawOutput: boolean;
  lastText: string | null;
  outcome: TurnOutcome | null;
}

export function initialState(): ConversationState {
  return {
    phase: "initializing",
    agent: { name: null, version: null },
    sessionId: null,
    nextId: 0,
    waiting: [],
    tools: [],
    finishedTools: [],
    message: null,
    messageCount: 0,
    plan: [],
    usage: null,
    context: null,
    sawOutput: false,
    lastText: null,
    outcome: null,
  };
}
