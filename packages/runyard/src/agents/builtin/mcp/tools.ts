import type { McpServer } from "@agentclientprotocol/sdk";
import { jsonSchema } from "ai";
import { z } from "zod";
import manifest from "../../../../package.json" with { type: "json" };
import { cutEnd, cutMiddle, oneLine } from "../text.ts";
import { commandEnvironment } from "../tools/run-command.ts";
import { ToolProblem } from "../tools/problem.ts";
import type { AgentTool, ToolOutcome } from "../tools/tool.ts";
import { type McpClient, openMcpClient, type OpenWire } from "./client.ts";
import { httpWire } from "./http-wire.ts";
import { stdioWire } from "./stdio-wire.ts";

/** How long a server may take to be there, and one of its tools to work. */
const CONNECT_TIMEOUT_MS = 30_000;
const CALL_TIMEOUT_MS = 30 * 60_000;
const MAX_TOOLS = 200;
const MAX_DESCRIPTION_CHARS = 4_000;
const MAX_RESULT_BYTES = 64 * 1024;
/** The longest name of a tool that all providers take. */
const MAX_NAME_CHARS = 64;

/** Tools of MCP servers, by the names that the model calls them by: `mcp__<server>__<tool>`. */
export type McpTools = Readonly<Record<string, AgentTool<unknown>>>;

/**
 * Connects to the servers of a session; rejects with a sentence where one of them cannot be used. Connections last as
 * long as this process.
 */
export async function connectMcpServers(servers: readonly McpServer[], cwd: string): Promise<McpTools> {
  const lists = await Promise.all(servers.map((server) => toolsOf(server, cwd)));
  return Object.fromEntries(lists.flat().slice(0, MAX_TOOLS));
}

async function toolsOf(server: McpServer, cwd: string): Promise<[string, AgentTool<unknown>][]> {
  try {
    const clientInfo = { name: "runyard-builtin", version: manifest.version };
    const client = await openMcpClient(wireTo(server, cwd), { clientInfo, timeoutMs: CONNECT_TIMEOUT_MS });
    const tools: [string, AgentTool<unknown>][] = [];
    for (let cursor: string | undefined; ;) {
      const page = toolPageSchema.parse(await client.request("tools/list", { cursor }, { timeoutMs: CONNECT_TIMEOUT_MS }));
      for (const tool of page.tools) tools.push([nameOf(server.name, tool.name), asAgentTool(client, server.name, tool)]);
      cursor = page.nextCursor;
      if (cursor === undefined || tools.length >= MAX_TOOLS) return tools;
    }
  } catch (error) {
    const words = error instanceof z.ZodError ? "its list of tools is not one" : error instanceof Error ? error.message : String(error);
    throw new Error(`The MCP server ${server.name} cannot be used: ${oneLine(words, 500)}`, { cause: error });
  }
}

function wireTo(server: McpServer, cwd: string): OpenWire {
  const values = (list: readonly { name: string; value: string }[]): Record<string, string> =>
    Object.fromEntries(list.map(({ name, value }) => [name, value]));
  if ("command" in server) {
    const { command, args } = server;
    return stdioWire({ command, args, cwd, env: { ...commandEnvironment(), ...values(server.env) } });
  }
  if (server.type !== "http") throw new Error(`it is reached by ${server.type}, which this agent does not speak`);
  return httpWire({ url: new URL(server.url), headers: values(server.headers) });
}

const toolSchema = z.object({
  name: z.string().min(1),
  title: z.string().optional(),
  description: z.string().optional(),
  inputSchema: z.record(z.string(), z.unknown()),
});
type ListedTool = z.infer<typeof toolSchema>;
const toolPageSchema = z.object({ tools: z.array(toolSchema), nextCursor: z.string().optional() });

const partSchema = z.object({
  type: z.string(),
  text: z.string().optional(),
  mimeType: z.string().optional(),
  uri: z.string().optional(),
  resource: z.object({ uri: z.string(), text: z.string().optional() }).optional(),
});
const resultSchema = z.object({
  content: z.array(partSchema).default([]),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional(),
});

function nameOf(server: string, tool: string): string {
  return `mcp__${server}__${tool}`.replaceAll(/[^\w-]/g, "_").slice(0, MAX_NAME_CHARS);
}

function asAgentTool(client: McpClient, server: string, tool: ListedTool): AgentTool<unknown> {
  const title = tool.title ?? tool.name;
  return {
    description: cutEnd(tool.description ?? title, MAX_DESCRIPTION_CHARS),
    inputSchema: jsonSchema(tool.inputSchema as Parameters<typeof jsonSchema>[0]),
    // What a server says of its tool is not what the tool does: a policy decides about all of them alike.
    kind: "other",
    needsPermission: true,
    title: () => `${server}: ${oneLine(title, 100)}`,
    async prepare(input, { signal }) {
      return { run: () => call(client, { name: tool.name, arguments: input as Record<string, unknown> }, signal) };
    },
  };
}

async function call(client: McpClient, request: object, signal: AbortSignal): Promise<ToolOutcome> {
  const answer = resultSchema.safeParse(await client.request("tools/call", request, { signal, timeoutMs: CALL_TIMEOUT_MS }));
  if (!answer.success) throw new ToolProblem("The server answered with something that is no result of a tool.");
  const { content, structuredContent, isError } = answer.data;
  const parts = content.map(partText).filter((text) => text !== "");
  const structured = structuredContent === undefined ? "" : JSON.stringify(structuredContent);
  const text = parts.length > 0 ? parts.join("\n\n") : structured;
  return { text: cutMiddle(text === "" ? "[no output]" : text, MAX_RESULT_BYTES), failed: isError === true };
}

function partText({ type, text, mimeType, uri, resource }: z.infer<typeof partSchema>): string {
  if (type === "text") return text ?? "";
  if (type === "resource_link") return `See ${uri}`;
  if (type === "resource") return resource?.text === undefined ? `[${resource?.uri}]` : `${resource.uri}:\n${resource.text}`;
  return `[${type}${mimeType === undefined ? "" : ` ${mimeType}`}, which cannot be shown here]`;
}
