import { z } from "zod";
import { openaiError } from "./error-shapes.ts";
import { openaiHeaders } from "./provider-headers.ts";
import { Refusal } from "./refusal.ts";
import { refuseRemoteContent, refuseStored, refuseTool } from "./remote-content.ts";
import {
  type AnswerReport,
  type ChooseModel,
  type EventFate,
  eventReader,
  messageIn,
  NO_TOKENS,
  notAnAnswer,
  parseJson,
  type PreparedRequest,
  readRequest,
  reportedError,
  type StreamWatcher,
  tokenCount,
  type TokenCounts,
  type WireFormat,
} from "./wire-format.ts";

/** OpenAI's Responses. */
export const openaiResponses: WireFormat = {
  doorPath: "/v1/responses",
  providerPath: (api) => (api === "openai" ? "/responses" : api === "scripted" ? "/v1/responses" : null),
  providerHeaders: openaiHeaders,
  prepareRequest,
  errorBody: openaiError,
  readWholeAnswer,
  watchStream,
  outputLimit: {
    read: (body) => body["max_output_tokens"],
    write: (body, limit) => ({ ...body, max_output_tokens: limit }),
  },
};

const requestSchema = z.looseObject({
  model: z.string().min(1),
  stream: z.boolean().nullish(),
  background: z.boolean().nullish(),
  input: z.unknown().optional(),
  tools: z
    .array(z.looseObject({ type: z.string().nullish().catch(null) }))
    .nullish()
    .catch(null),
});

/** What stands for input that was given before, or elsewhere. */
const STORED = ["previous_response_id", "conversation", "prompt"] as const;

/** The last event tells the usage unasked, so nothing but the model's name ever changes. */
export function prepareRequest(raw: Buffer, chooseModel: ChooseModel): PreparedRequest {
  const data = readRequest(raw, requestSchema, "Responses");
  // Its answer would come later and past the gateway, which could not count it.
  if (data.background === true)
    throw new Refusal(400, "background_not_served", { message: "Runyard's gateway does not serve answers in the background." });
  for (const field of STORED) if (data[field]) refuseStored(field);
  if (data.tools?.some(({ type }) => type === "mcp")) refuseTool("mcp");
  if (Array.isArray(data.input)) refuseRemoteContent(data.input as unknown[]);
  const chosen = chooseModel(data.model);
  const { model } = chosen;
  const body = model === data.model ? raw : Buffer.from(JSON.stringify({ ...data, model }));
  return { ...chosen, body, stream: data.stream === true, wantsUsageEvent: true };
}

const responseSchema = z.looseObject({
  status: z.string().nullish().catch(null),
  error: z.unknown().optional(),
  usage: z
    .looseObject({
      input_tokens: tokenCount,
      output_tokens: tokenCount,
      input_tokens_details: z.looseObject({ cached_tokens: tokenCount }).nullish().catch(null),
      output_tokens_details: z.looseObject({ reasoning_tokens: tokenCount }).nullish().catch(null),
    })
    .nullish()
    .catch(null),
});
type ResponseBody = z.infer<typeof responseSchema>;

function tokensIn({ usage }: ResponseBody): TokenCounts {
  return {
    inputTokens: usage?.input_tokens ?? null,
    outputTokens: usage?.output_tokens ?? null,
    cachedInputTokens: usage?.input_tokens_details?.cached_tokens ?? null,
    cacheWriteTokens: null,
    reasoningTokens: usage?.output_tokens_details?.reasoning_tokens ?? null,
  };
}

/** Null for an answer that is good; one that is `incomplete` reached a limit of the model's, as good as one that is `completed`. */
function errorIn(response: ResponseBody): string | null {
  if (response.status !== "failed" && !response.error) return null;
  return messageIn(response.error) ?? "The provider reported a failure without words.";
}

const wholeAnswerSchema = responseSchema.extend({ output: z.array(z.unknown()) });

export function readWholeAnswer(body: Buffer): AnswerReport {
  const answer = wholeAnswerSchema.safeParse(parseJson(body));
  if (!answer.success) return notAnAnswer(body, "one of Responses");
  return { complete: true, error: errorIn(answer.data), tokens: tokensIn(answer.data) };
}

const eventSchema = z.looseObject({
  type: z.string(),
  sequence_number: z.number().int().min(0).nullish().catch(null),
  response: responseSchema.nullish().catch(null),
});

const LAST_EVENTS: ReadonlySet<string> = new Set(["response.completed", "response.failed", "response.incomplete"]);
/** The same anywhere in a block of events, and errors. What a model says has a backslash before quotes. */
const MATTERS = /"response\.(?:completed|failed|incomplete)"|"error"[\s:]*[^n\s:]|data:(?!\s*\{)/;

const NUMBER_KEY = '"sequence_number"';

/** The number of the last event that has one. */
function lastNumberIn(block: Buffer): number | null {
  const at = block.lastIndexOf(NUMBER_KEY);
  const digits = at === -1 ? null : /^[\s:]*(\d{1,15})/.exec(block.toString("latin1", at + NUMBER_KEY.length, at + 2 * NUMBER_KEY.length));
  return digits === null ? null : Number(digits[1]);
}

/** An answer is whole with one of its three last events, and with nothing else, however clean its end looks. */
export function watchStream(): StreamWatcher {
  let done = false;
  let error: string | null = null;
  let tokens = NO_TOKENS;
  let begun = false;
  /** One more than the last that was told. */
  let nextNumber = 0;
  const fail = (words: string): void => void (error ??= words);

  const seeEvent = (event: z.infer<typeof eventSchema>): EventFate => {
    begun = true;
    nextNumber = (event.sequence_number ?? nextNumber - 1) + 1;
    if (event.type === "error") fail(reportedError(event));
    if (!LAST_EVENTS.has(event.type)) return "forward";
    done = true;
    tokens = event.response ? tokensIn(event.response) : NO_TOKENS;
    if (event.type === "response.failed") error ??= errorIn({ ...event.response, status: "failed" });
    return "last";
  };

  const read = eventReader(eventSchema, { what: "one of Responses", see: seeEvent, fail });
  return {
    see: read,
    skim(block) {
      if (!begun || MATTERS.test(block.toString("latin1"))) return false;
      nextNumber = (lastNumberIn(block) ?? nextNumber - 1) + 1;
      return true;
    },
    report: () => ({ complete: done, error, tokens }),
    errorEvent(message) {
      const event = { type: "error", code: "upstream_interrupted", message, param: null, sequence_number: nextNumber };
      return Buffer.from(`event: error\ndata: ${JSON.stringify(event)}\n\n`);
    },
  };
}
