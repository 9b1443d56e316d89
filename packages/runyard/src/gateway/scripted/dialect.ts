import type { ServerResponse } from "node:http";
import { z } from "zod";
import type { Conversation } from "./conversation.ts";
import type { Turn } from "./turn.ts";

/** So that a person can see an answer come. */
export const PIECE_DELAY_MS = 15;
const WORDS_OF_PIECE = /(?:\S+\s*){1,3}/g;
const ARGUMENT_PIECE_CHARS = 120;

/** A way to ask the scripted model and to get its answer: the same model speaks them all. */
export interface Dialect {
  /** The format's path, here as at the gateway's door. */
  readonly doorPath: string;
  read(body: unknown, query: URLSearchParams): Question;
  sendWhole(response: ServerResponse, answer: Answer): void;
  sendStream(response: ServerResponse, answer: Answer): Promise<void>;
}

export interface Question {
  readonly conversation: Conversation;
  readonly stream: boolean;
  /** The client wants an event that only tells the usage; for formats that have one. */
  readonly includeUsage: boolean;
  /** Streams as one JSON array; for the format that has such. */
  readonly asArray?: boolean;
  /** The JSON Schema that the answer must fit; left out: any words do. */
  readonly schema?: unknown;
  /** What counts as input. */
  readonly counted: readonly unknown[];
}

export interface Answer {
  /** The same for the same request. */
  readonly id: string;
  readonly turn: Turn;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly includeUsage: boolean;
  readonly asArray: boolean;
}

export const contentSchema = z
  .union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))])
  .nullish()
  .catch(null);

export function textOf(content: z.infer<typeof contentSchema>): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join("\n");
}

/** Names of declared tools. The script names files by `path`: tools that name them otherwise are others, whatever they are called. */
export function toolNames(tools: readonly DeclaredTool[]): ReadonlySet<string> {
  const isAnother = ({ schema }: DeclaredTool): boolean => OTHER_NAMES.some((name) => name in (schema?.properties ?? {}));
  return new Set(tools.flatMap((tool) => (tool.name == null || isAnother(tool) ? [] : tool.name)));
}
const OTHER_NAMES = ["file_path", "absolute_path", "dir_path"];

interface DeclaredTool {
  readonly name?: string | null | undefined;
  readonly schema?: { readonly properties?: Readonly<Record<string, unknown>> | null | undefined } | null | undefined;
}

/** What `DeclaredTool.schema` takes of a tool's JSON Schema. */
export const toolSchema = z
  .looseObject({ properties: z.record(z.string(), z.unknown()).nullish().catch(null) })
  .nullish()
  .catch(null);

export function callId({ id }: Answer, index: number): string {
  return `call_${id.slice(0, 16)}_${index}`;
}

/** A few words at a time. */
export function wordsOf(text: string): readonly string[] {
  return text.match(WORDS_OF_PIECE) ?? [];
}

export function* argumentPieces(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += ARGUMENT_PIECE_CHARS) yield text.slice(at, at + ARGUMENT_PIECE_CHARS);
}

export function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}
