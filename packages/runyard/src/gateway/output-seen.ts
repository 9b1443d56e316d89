import type { StreamEvent } from "./wire-format.ts";

/** English has more bytes for a token than that only in odd places, and other languages fewer. */
const BYTES_PER_TOKEN = 6;
/** An estimate is no count: a provider that keeps to its limit must not be cut off by one. */
const SLACK = 1.25;
const SLACK_TOKENS = 64;

/** Estimates how long an answer is while it comes, to end one that does not keep to its limit. */
export interface OutputMeter {
  see(event: StreamEvent): void;
  /** Tokens: pieces of content, or their bytes by six, whichever is more. What a provider keeps to itself is not in it. */
  readonly tokens: number;
  /** Much longer than the limit. */
  readonly isOver: boolean;
}

export function meterOutput(limit: number): OutputMeter {
  let pieces = 0;
  let bytes = 0;
  const tokens = (): number => Math.max(pieces, Math.ceil(bytes / BYTES_PER_TOKEN));
  return {
    see({ value }) {
      const text = contentOf(value);
      if (text === 0) return;
      pieces += 1;
      bytes += text;
    },
    get tokens() {
      return tokens();
    },
    get isOver() {
      return tokens() > limit * SLACK + SLACK_TOKENS;
    },
  };
}

/** Where the formats have what a model says, thinks or calls, in the pieces of a stream. */
const CONTENT = new Set([
  "content",
  "text",
  "thinking",
  "partial_json",
  "reasoning",
  "reasoning_content",
  "arguments",
  "args",
  "refusal",
  "delta",
]);
const HOLDERS = ["choices", "delta", "tool_calls", "function", "function_call", "candidates", "content", "parts", "functionCall"];

/** Bytes of content in a piece of a stream. What repeats the whole at the end of a part is none. */
function contentOf(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, one) => sum + contentOf(one), 0);
  if (typeof value !== "object" || value === null) return 0;
  const fields = Object.entries(value as Record<string, unknown>);
  const { type } = value as { type?: unknown };
  // Responses and Messages name their events; only deltas are new.
  if (typeof type === "string" && /[._]/.test(type) && !/(?:\.|_)delta$/.test(type)) return 0;
  return fields.reduce((sum, [name, inner]) => {
    if (CONTENT.has(name) && typeof inner === "string") return sum + Buffer.byteLength(inner);
    if (name === "args") return sum + Buffer.byteLength(JSON.stringify(inner));
    return HOLDERS.includes(name) ? sum + contentOf(inner) : sum;
  }, 0);
}
