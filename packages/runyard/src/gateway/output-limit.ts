import type { Provider } from "./protocol.ts";
import { Refusal } from "./refusal.ts";
import { parseJson } from "./wire-format.ts";

type Body = Record<string, unknown>;

/** How a format says how long its answer may be. */
interface OutputLimit {
  read(body: Body): unknown;
  write(body: Body, limit: number, provider: Provider): Body;
}

/** OpenAI's newer models refuse the name that everybody else's know alone. */
const NEW_NAME_HOSTS = /(?:^|\.)(?:openai\.com|azure\.com)$/;

/** Also behind a proxy, where that is told. */
function hasNewName({ baseUrl, pricedAs }: Provider): boolean {
  return pricedAs === "openai" || pricedAs === "azure" || NEW_NAME_HOSTS.test(new URL(baseUrl).hostname);
}

const chat: OutputLimit = {
  read: (body) => body["max_completion_tokens"] ?? body["max_tokens"],
  write(body, limit, provider) {
    const names = ["max_completion_tokens", "max_tokens"].filter((name) => typeof body[name] === "number");
    if (names.length > 0) return { ...body, ...Object.fromEntries(names.map((name) => [name, limit])) };
    return { ...body, [hasNewName(provider) ? "max_completion_tokens" : "max_tokens"]: limit };
  },
};

const responses: OutputLimit = {
  read: (body) => body["max_output_tokens"],
  write: (body, limit) => ({ ...body, max_output_tokens: limit }),
};

/** The least that Anthropic lets a model think. */
const LEAST_THINKING_TOKENS = 1_024;

const messages: OutputLimit = {
  read: (body) => body["max_tokens"],
  write(body, limit) {
    const { thinking, ...rest } = body;
    if (!isBody(thinking) || typeof thinking["budget_tokens"] !== "number") return { ...body, max_tokens: limit };
    // Thinking must stay below the limit.
    const budget = Math.min(thinking["budget_tokens"], limit - 1);
    return budget < LEAST_THINKING_TOKENS
      ? { ...rest, max_tokens: limit }
      : { ...rest, max_tokens: limit, thinking: { ...thinking, budget_tokens: budget } };
  },
};

const gemini: OutputLimit = {
  read: (body) => configOf(body)["maxOutputTokens"] ?? configOf(body)["max_output_tokens"],
  write(body, limit) {
    const { generation_config: _, ...rest } = body;
    const { max_output_tokens: __, ...config } = configOf(body);
    return { ...rest, generationConfig: { ...config, maxOutputTokens: limit } };
  },
};

function configOf(body: Body): Body {
  const config = body["generationConfig"] ?? body["generation_config"];
  return isBody(config) ? config : {};
}

const LIMITS: readonly (readonly [RegExp, OutputLimit])[] = [
  [/\/chat\/completions$/, chat],
  [/\/responses$/, responses],
  [/\/messages$/, messages],
  [/enerateContent$/, gemini],
];

function limitAt(doorPath: string): OutputLimit {
  const found = LIMITS.find(([pattern]) => pattern.test(doorPath))?.[1];
  if (found === undefined) throw new Error(`Nothing is known of the length of answers at ${doorPath}`);
  return found;
}

/** The longest answer that a client asked for at this path of the door, in tokens; null: it does not say. */
export function outputLimitOf(doorPath: string, body: Buffer): number | null {
  const value = limitAt(doorPath).read(bodyOf(body));
  return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : null;
}

/** The same request, with no longer answer than this. */
export function withOutputLimit(doorPath: string, request: { readonly body: Buffer; readonly provider: Provider }, limit: number): Buffer {
  return Buffer.from(JSON.stringify(limitAt(doorPath).write(bodyOf(request.body), limit, request.provider)));
}

/** Refuses what makes an answer cost more than its limit says. */
export function refuseUnlimited(body: Buffer): void {
  const request = bodyOf(body);
  const several = [request["n"], configOf(request)["candidateCount"]].some((count) => typeof count === "number" && count > 1);
  const name = several ? "more than one answer" : request["prediction"] === undefined ? null : '"prediction"';
  const tier = request["service_tier"];
  const what = name ?? (tier === "priority" ? 'the service tier "priority"' : null);
  if (what === null) return;
  throw new Refusal(400, "not_bounded", { message: `This run has a budget, which ${what} could pass: ask without it.` });
}

function bodyOf(bytes: Buffer): Body {
  const value = parseJson(bytes);
  return isBody(value) ? value : {};
}

function isBody(value: unknown): value is Body {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
