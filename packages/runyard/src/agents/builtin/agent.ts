import {
  agent,
  methods,
  PROTOCOL_VERSION,
  RequestError,
  type AgentApp,
  type AgentContext,
  type ContentBlock,
  type McpServer,
  type PromptResponse,
} from "@agentclientprotocol/sdk";
import { randomUUID } from "node:crypto";
import manifest from "../../../package.json" with { type: "json" };
import { clientLink, type ClientLink } from "./client-link.ts";
import { conversationStore, type Conversation } from "./conversation.ts";
import type { McpTools } from "./mcp/tools.ts";
import { openWorkspace } from "./tools/workspace.ts";
import type { runTurn, TurnUsage } from "./turn.ts";

interface Session {
  readonly root: string;
  /** Further folders of the workspace. */
  readonly further: readonly string[];
  readonly conversation: Conversation;
  /** Of the session's MCP servers. */
  readonly moreTools: McpTools;
  /** Aborts the turn that is under way. */
  turn: AbortController | null;
}

/** What the agent needs of the process it runs in. */
export interface AgentSettings {
  readonly env: NodeJS.ProcessEnv;
  /** Keeps the conversations. */
  readonly home: string;
  /** For remarks that are no messages of the protocol. */
  log(text: string): void;
}

/** The agent side of ACP v1: sessions, prompts, and the way back to the model's conversation. */
export function builtinAgent(settings: AgentSettings): AgentApp {
  const sessions = new Map<string, Session>();
  const store = conversationStore(settings.home);
  let canAsk = false;

  const open = async (conversation: Conversation, { cwd, additionalDirectories, mcpServers }: Place): Promise<void> => {
    const refuse = (error: Error): never => {
      throw RequestError.invalidParams(undefined, error.message);
    };
    const [root, ...further] = await openFolders([cwd, ...(additionalDirectories ?? [])]).catch(refuse);
    const moreTools = await connectServers(mcpServers ?? [], root).catch(refuse);
    sessions.set(conversation.sessionId, { root, further, conversation, moreTools, turn: null });
  };
  const reopen = async (params: Place & { sessionId: string }): Promise<Conversation> => {
    const conversation = await store.load(params.sessionId);
    if (conversation === undefined) throw RequestError.sessionNotFound(params.sessionId);
    await open(conversation, params);
    return conversation;
  };

  return agent({ name: "runyard-builtin" })
    .onRequest(methods.agent.initialize, ({ params }) => {
      canAsk = params.clientCapabilities?.elicitation?.form != null;
      // Loading the SDK of the models takes a moment: while the client makes its session is a good time for it.
      setImmediate(() => void loadTurns());
      return {
        protocolVersion: PROTOCOL_VERSION,
        agentCapabilities: {
          loadSession: true,
          promptCapabilities: { embeddedContext: true },
          sessionCapabilities: { resume: {}, additionalDirectories: {} },
          mcpCapabilities: { http: true },
        },
        agentInfo: { name: "runyard-builtin", title: "Runyard", version: manifest.version },
        authMethods: [],
      };
    })
    .onRequest(methods.agent.session.new, async ({ params }) => {
      const sessionId = randomUUID();
      await open({ sessionId, messages: [] }, params);
      return { sessionId };
    })
    .onRequest(methods.agent.session.resume, async ({ params }) => {
      await reopen(params);
      return {};
    })
    .onRequest(methods.agent.session.load, async ({ params, client }) => {
      replay(await reopen(params), client);
      return {};
    })
    .onNotification(methods.agent.session.cancel, ({ params }) => sessions.get(params.sessionId)?.turn?.abort())
    .onRequest(methods.agent.session.prompt, async ({ params, client, signal }) => {
      const session = sessions.get(params.sessionId);
      if (session === undefined) throw RequestError.sessionNotFound(params.sessionId);
      return await promptSession(session, {
        settings,
        text: promptText(params.prompt),
        signal,
        link: clientLink(client, { sessionId: params.sessionId, canAsk }),
        save: () => store.save(session.conversation),
      });
    });
}

/** Where a session works, and with which servers. */
interface Place {
  readonly cwd: string;
  readonly additionalDirectories?: readonly string[] | null | undefined;
  readonly mcpServers?: readonly McpServer[] | null | undefined;
}

/** The real paths of the workspace and of its further folders. */
async function openFolders([workspace, ...further]: readonly [string, ...string[]]): Promise<[string, ...string[]]> {
  return [await openWorkspace(workspace), ...(await Promise.all(further.map(openWorkspace)))];
}

/** The client of MCP is loaded by sessions that need it. */
async function connectServers(servers: readonly McpServer[], cwd: string): Promise<McpTools> {
  if (servers.length === 0) return {};
  return (await import("./mcp/tools.ts")).connectMcpServers(servers, cwd);
}

function loadTurns(): Promise<{ runTurn: typeof runTurn }> {
  return import("./turn.ts");
}

interface Prompt {
  readonly settings: AgentSettings;
  readonly text: string;
  /** Aborted when the request is withdrawn, or the client is gone. */
  readonly signal: AbortSignal;
  readonly link: ClientLink;
  save(): Promise<void>;
}

async function promptSession(session: Session, prompt: Prompt): Promise<PromptResponse> {
  const { conversation, root, further, moreTools } = session;
  if (session.turn !== null) throw RequestError.invalidRequest(undefined, "a prompt of this session is still being worked on");
  const turn = new AbortController();
  session.turn = turn;
  // A conversation that cannot be kept (a full disk) costs later resuming, not this turn.
  const save = (): Promise<void> =>
    prompt.save().catch((error: unknown) => prompt.settings.log(`The conversation could not be saved: ${String(error)}`));
  try {
    conversation.messages.push({ role: "user", content: prompt.text });
    await save();
    const { runTurn } = await loadTurns();
    const signal = AbortSignal.any([turn.signal, prompt.signal]);
    const { stopReason, usage } = await runTurn({
      root,
      further,
      conversation,
      moreTools,
      link: prompt.link,
      signal,
      env: prompt.settings.env,
      save,
    });
    return { stopReason, ...usageField(usage) };
  } catch (error) {
    throw await promptError(error);
  } finally {
    session.turn = null;
  }
}

/** `usage` of a prompt's result belongs to the unstable part of the protocol; clients that do not know it skip it. */
function usageField(usage: TurnUsage): { usage?: TurnUsage } {
  return usage.totalTokens === null && usage.inputTokens === null && usage.outputTokens === null ? {} : { usage };
}

async function promptError(error: unknown): Promise<RequestError> {
  const { ModelFailure } = await import("./model-failure.ts");
  if (!(error instanceof ModelFailure))
    return new RequestError(-32603, `The agent failed: ${error instanceof Error ? error.message : String(error)}`);
  return new RequestError(-32603, error.message, { source: "model", reason: error.reason, statusCode: error.statusCode });
}

function promptText(blocks: readonly ContentBlock[]): string {
  return blocks
    .map(blockText)
    .filter((text) => text !== "")
    .join("\n\n");
}

function blockText(block: ContentBlock): string {
  if (block.type === "text") return block.text;
  if (block.type === "resource_link") return `See ${block.uri}`;
  if (block.type === "resource" && "text" in block.resource) return `${block.resource.uri}:\n${block.resource.text}`;
  return "";
}

/** Shows the texts of a loaded conversation again. */
function replay(conversation: Conversation, client: AgentContext): void {
  const link = clientLink(client, { sessionId: conversation.sessionId, canAsk: false });
  for (const message of conversation.messages) {
    if (message.role !== "user" && message.role !== "assistant") continue;
    const sessionUpdate = message.role === "user" ? "user_message_chunk" : "agent_message_chunk";
    const parts = typeof message.content === "string" ? [{ type: "text" as const, text: message.content }] : message.content;
    const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
    if (text !== "") link.update({ sessionUpdate, messageId: randomUUID(), content: { type: "text", text } });
  }
}
