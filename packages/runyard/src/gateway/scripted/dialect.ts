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
  readonly path: string;
  read(body: unknown): Question;
  sendWhole(response: ServerResponse, answer: Answer): void;
  sendStream(response: ServerResponse, answer: Answer): Promise<void>;
}

export interface Question {
  readonly conversation: Conversation;
  readonly stream: boolean;
  /** The client wants an event that only tells the usage; for formats that have one. */
  readonly includeUsage: boolean;
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
}

export const contentSchema = z
  .union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))])
  .nullish()
  .catch(null);

export function textOf(content: z.infer<typeof contentSchema>): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join("\n");
}

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
