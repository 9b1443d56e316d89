import type { ServerResponse } from "node:http";
import { beginStream, sendJson, type SeenRequest } from "./provider.ts";

export const RESPONSES_USAGE = {
  input_tokens: 1_200,
  input_tokens_details: { cached_tokens: 1_000 },
  output_tokens: 34,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 1_234,
};
export const RESPONSES_QUESTION = { model: "runyard", input: "Say hello." };

/** One event of a streamed response. */
export function responsesEvent(type: string, fields: Record<string, unknown> = {}, number = 0): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields, sequence_number: number })}\n\n`;
}

export function response(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return { id: "resp_1", object: "response", status: "completed", model: "m", output: [], usage: RESPONSES_USAGE, ...fields };
}

export const CREATED = responsesEvent("response.created", { response: response({ status: "in_progress", usage: null }) });
export const HELLO = responsesEvent(
  "response.output_text.delta",
  { item_id: "msg_1", output_index: 0, content_index: 0, delta: "Hello" },
  1,
);
export const COMPLETED = responsesEvent("response.completed", { response: response() }, 2);

/** Answers well, streamed or whole as it was asked for. */
export function respondWell(request: SeenRequest, answer: ServerResponse): void {
  if (request.body["stream"] !== true) return sendJson(answer, 200, response());
  beginStream(answer);
  answer.end(CREATED + HELLO + COMPLETED);
}
