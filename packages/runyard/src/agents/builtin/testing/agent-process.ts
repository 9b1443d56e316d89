import {
  client,
  methods,
  ndJsonStream,
  type ClientConnection,
  type CreateElicitationRequest,
  type InitializeResponse,
  type McpServer,
  type NewSessionResponse,
  type PromptResponse,
  type RequestPermissionRequest,
  type SessionUpdate,
} from "@agentclientprotocol/sdk";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { buildPrograms } from "../../../runtime/build-programs.ts";

export type ToolUpdate = Extract<SessionUpdate, { sessionUpdate: "tool_call" | "tool_call_update" }>;
export type Result = PromptResponse & { usage?: Record<string, number | null> };

export interface AgentOptions {
  readonly baseUrl: string;
  readonly workspace: string;
  /** Further folders that belong to it. */
  readonly further?: string[];
  readonly home: string;
  readonly env?: Record<string, string>;
  readonly mcpServers?: McpServer[];
  /** The option that is chosen; default: "allow". */
  onPermission?(request: RequestPermissionRequest): Promise<string> | string;
  /** Makes the client one that can ask people. */
  onQuestion?(request: CreateElicitationRequest): { action: string; content?: { answer: string } };
}

/** The real program as a child process, with a client of ACP on its standard streams. */
export interface AgentProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly connection: ClientConnection;
  readonly initialized: InitializeResponse;
  readonly sessionId: string;
  readonly updates: SessionUpdate[];
  readonly permissions: RequestPermissionRequest[];
  /** Everything that came on standard output. */
  stdout(): string;
  stderr(): string;
  prompt(text: string): Promise<Result>;
  cancel(): Promise<void>;
}

/** Bundles the agent as it is shipped; returns the program and what removes it. */
export async function buildAgent(): Promise<{ program: string; remove: () => void }> {
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-agent-"));
  await buildPrograms(dir, { agent: fileURLToPath(new URL("../main.ts", import.meta.url)) });
  return { program: path.join(dir, "agent.mjs"), remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export function makeDir(name: string): string {
  return realpathSync(mkdtempSync(path.join(tmpdir(), `runyard-${name}-`)));
}

export function spawnAgent(program: string, options: Pick<AgentOptions, "baseUrl" | "home" | "env">): ChildProcess {
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: options.home,
    OPENAI_BASE_URL: options.baseUrl,
    OPENAI_API_KEY: "run-token",
    RUNYARD_MODEL: "scripted",
  };
  return spawn(process.execPath, [program], { env: { ...env, ...options.env }, stdio: ["pipe", "pipe", "pipe"] });
}

export async function startAgent(program: string, options: AgentOptions & { load?: string; resume?: string }): Promise<AgentProcess> {
  const child = spawnAgent(program, options);
  if (child.stdin === null || child.stdout === null || child.stderr === null || child.pid === undefined)
    throw new Error("the agent did not start");
  const out: Buffer[] = [];
  let err = "";
  const readable = new PassThrough();
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stdout.pipe(readable);
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString("utf8")));
  const updates: SessionUpdate[] = [];
  const permissions: RequestPermissionRequest[] = [];
  const connection = client({ name: "test" })
    .onNotification(methods.client.session.update, ({ params }) => void updates.push(params.update))
    .onRequest(methods.client.session.requestPermission, async ({ params }) => {
      permissions.push(params);
      const optionId = (await options.onPermission?.(params)) ?? "allow";
      return { outcome: { outcome: "selected" as const, optionId } };
    })
    .onRequest(methods.client.elicitation.create, ({ params }) => options.onQuestion?.(params) ?? { action: "cancel" })
    .connect(ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(readable) as ReadableStream<Uint8Array>));

  const { initialized, sessionId } = await openSession(connection, options).catch((error: unknown) => {
    child.kill("SIGKILL");
    throw error;
  });
  return {
    child,
    pid: child.pid,
    connection,
    initialized,
    sessionId,
    updates,
    permissions,
    stdout: () => Buffer.concat(out).toString("utf8"),
    stderr: () => err,
    prompt: (text) => connection.agent.request(methods.agent.session.prompt, { sessionId, prompt: [{ type: "text", text }] }),
    cancel: () => connection.agent.notify(methods.agent.session.cancel, { sessionId }),
    async [Symbol.asyncDispose]() {
      const exited = child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : once(child, "exit");
      // The way in which it takes with it what it left in the background.
      child.stdin?.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await exited;
      clearTimeout(timer);
    },
  };
}

async function openSession(
  connection: ClientConnection,
  options: AgentOptions & { load?: string; resume?: string },
): Promise<Pick<AgentProcess, "initialized" | "sessionId">> {
  const { agent } = connection;
  const initialized = await agent.request(methods.agent.initialize, {
    protocolVersion: 1,
    clientCapabilities: options.onQuestion === undefined ? {} : { elicitation: { form: {} } },
  });
  const further = options.further === undefined ? {} : { additionalDirectories: options.further };
  const place = { cwd: options.workspace, ...further, mcpServers: options.mcpServers ?? [] };
  const sessionId = options.load ?? options.resume;
  if (sessionId === undefined) {
    const made: NewSessionResponse = await agent.request(methods.agent.session.new, place);
    return { initialized, sessionId: made.sessionId };
  }
  if (options.load === undefined) await agent.request(methods.agent.session.resume, { ...place, sessionId });
  else await agent.request(methods.agent.session.load, { ...place, sessionId });
  return { initialized, sessionId };
}

/** The text of the agent's messages. */
export function spoken(
  updates: readonly SessionUpdate[],
  kind: "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk" = "agent_message_chunk",
): string {
  return updates.map((update) => (update.sessionUpdate === kind && update.content.type === "text" ? update.content.text : "")).join("");
}

/** What was told about tool calls, one list for each call, in the order of the calls. */
export function toolCalls(updates: readonly SessionUpdate[]): ToolUpdate[][] {
  const calls = new Map<string, ToolUpdate[]>();
  for (const update of updates) {
    if (update.sessionUpdate !== "tool_call" && update.sessionUpdate !== "tool_call_update") continue;
    calls.set(update.toolCallId, [...(calls.get(update.toolCallId) ?? []), update]);
  }
  return [...calls.values()];
}

/** A call as a client sees it in the end: each field as it was told last. */
export function finalCall(updates: readonly SessionUpdate[], index = 0): ToolUpdate {
  const parts = toolCalls(updates)[index];
  if (parts === undefined) throw new Error(`there is no tool call ${index}`);
  return Object.assign({}, ...parts) as ToolUpdate;
}

/** Text content of a call. */
export function shownText(call: ToolUpdate): string {
  return (call.content ?? []).map((part) => (part.type === "content" && part.content.type === "text" ? part.content.text : "")).join("");
}

/** Waits until something holds; the caller's test timeout is the limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}
