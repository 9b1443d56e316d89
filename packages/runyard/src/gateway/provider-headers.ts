import type { IncomingHttpHeaders } from "node:http";
import type { Provider } from "./protocol.ts";

/** What providers get of a client's headers whatever the format; all others, the client's credentials first, stay here. */
const PASSED = ["accept", "idempotency-key"];
/** For requests that name none. */
const ANTHROPIC_VERSION = "2023-06-01";
/** Keys that a subscription's login gives begin like this, and are taken with this beta alone. */
const OAUTH_KEY = "sk-ant-oat";
const OAUTH_BETA = "oauth-2025-04-20";

export function openaiHeaders({ apiKey }: Provider, client: IncomingHttpHeaders): Record<string, string> {
  return { ...passed(client, [...PASSED, "openai-beta"]), ...bearer(apiKey) };
}

export function anthropicHeaders({ apiKey, bearer: isBearer }: Provider, client: IncomingHttpHeaders): Record<string, string> {
  const own = passed(client, [...PASSED, "anthropic-version", "anthropic-beta"]);
  const headers = { "anthropic-version": ANTHROPIC_VERSION, ...own };
  if (apiKey === null) return headers;
  if (!apiKey.startsWith(OAUTH_KEY)) return { ...headers, ...(isBearer === true ? bearer(apiKey) : { "x-api-key": apiKey }) };
  const betas = (own["anthropic-beta"] ?? "").split(",").filter((beta) => beta.trim() !== "" && beta.trim() !== OAUTH_BETA);
  return { ...headers, ...bearer(apiKey), "anthropic-beta": [...betas, OAUTH_BETA].join(",") };
}

export function geminiHeaders({ apiKey, bearer: isBearer }: Provider, client: IncomingHttpHeaders): Record<string, string> {
  const headers = passed(client, PASSED);
  if (apiKey === null) return headers;
  return { ...headers, ...(isBearer === true ? bearer(apiKey) : { "x-goog-api-key": apiKey }) };
}

function bearer(apiKey: string | null): Record<string, string> {
  return apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
}

function passed(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (typeof headers[name] === "string" ? [[name, headers[name]]] : [])));
}
