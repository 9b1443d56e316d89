import type { ModelMessage } from "ai";

/** A rough measure: four bytes of JSON for each token. */
export function estimateTokens(messages: readonly ModelMessage[]): number {
  return Math.ceil(Buffer.byteLength(JSON.stringify(messages)) / 4);
}

const REMOVED = "[This output was removed to save room. Call the tool again if you need it.]";
/** Goes well below the limit, so that the provider's cache of the beginning is not lost at every step. */
const TARGET_SHARE = 0.7;

/**
 * The same conversation, or, when it is longer than `limitTokens`, one without its oldest tool outputs.
 * The outputs of the last step stay whole.
 */
export function fitContext(messages: readonly ModelMessage[], limitTokens: number): ModelMessage[] {
  let tokens = estimateTokens(messages);
  if (tokens <= limitTokens) return [...messages];
  const last = messages.findLastIndex((message) => message.role === "tool");
  return messages.map((message, index) => {
    if (message.role !== "tool" || index === last || tokens <= limitTokens * TARGET_SHARE) return message;
    const shorter = withoutOutputs(message);
    tokens -= estimateTokens([message]) - estimateTokens([shorter]);
    return shorter;
  });
}

function withoutOutputs(message: ModelMessage & { role: "tool" }): ModelMessage {
  const content = message.content.map((part) => {
    if (part.type !== "tool-result" || JSON.stringify(part.output).length < 2 * REMOVED.length) return part;
    return { ...part, output: { type: "text" as const, value: REMOVED } };
  });
  return { ...message, content };
}
