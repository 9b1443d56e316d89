import type { ServerResponse } from "node:http";
import type { DeclaredTool, ToolCall } from "./scripted-tools.ts";

/** Tokens that each answer claims; the same always, so that tests can count. */
export const SCRIPTED_USAGE = { inputTokens: 1_000, outputTokens: 42, cachedInputTokens: 100 } as const;

export interface ModelMessage {
  readonly role: string;
  readonly content?: unknown;
}

/** What the model answers, whatever the format. */
export interface Said {
  readonly text: string;
  readonly calls: readonly ToolCall[];
  readonly model: string;
  readonly tools: readonly DeclaredTool[];
  /** Breaks the connection off after the text. */
  readonly cut: boolean;
  /** How long it claims to be. */
  readonly outputTokens: number;
}

/** A format that the scripted model speaks. */
export interface Wire {
  /** How its path ends. */
  readonly path: string;
  /** The same of its streams, where that differs. */
  readonly streamPath?: string;
  /** The question how many tokens a request has. */
  readonly count?: { readonly path: string; readonly answer: object };
  read(body: unknown, path: string): WireRequest;
  sendStream(response: ServerResponse, said: Said): void;
  sendWhole(response: ServerResponse, said: Said): void;
}

export interface WireRequest {
  readonly model: string | undefined;
  readonly stream: boolean;
  readonly tools: readonly DeclaredTool[];
  /** One for each thing that a person or a tool said, and one for each turn of the model. */
  readonly messages: readonly ModelMessage[];
  /** The answer must be JSON of this schema: such requests are for the agent's own ends. */
  readonly schema?: unknown;
}

let lastId = 0;
export function newId(prefix: string): string {
  return `${prefix}_${++lastId}`;
}

export function words(text: string): readonly string[] {
  return text.match(/\S+\s*|\s+/g) ?? [];
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

export function beginStream(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
}
