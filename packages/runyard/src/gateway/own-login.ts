import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Provider, RegisteredRun } from "./protocol.ts";
import { Refusal } from "./refusal.ts";
import type { PreparedRequest, QuestionFormat } from "./wire-format.ts";

type OwnLogin = NonNullable<RegisteredRun["ownLogin"]>;

/** What a maker gets of the headers of its own program: beside the login, what tells of the program and of the request. */
const PASSED: Readonly<Partial<Record<Provider["api"], RegExp>>> = {
  anthropic:
    /^(?:accept|user-agent|idempotency-key|x-app|anthropic-(?:version|beta|dangerous-direct-browser-access)|x-(?:stainless|claude)-[a-z0-9-]+)$/,
  openai:
    /^(?:accept|user-agent|idempotency-key|originator|version|openai-beta|(?:session|conversation|thread)[_-]id|x-client-request-id|x-(?:codex|openai)-[a-z0-9-]+)$/,
};

/** The headers of a call as its provider gets them: with the agent's own login where the run has that, else with the provider's key. */
export function headersOf(
  run: Pick<RegisteredRun, "ownLogin">,
  format: QuestionFormat,
  call: { readonly request: Pick<PreparedRequest, "provider">; readonly clientHeaders: IncomingHttpHeaders },
): Record<string, string> {
  const { ownLogin } = run;
  const { provider } = call.request;
  return ownLogin === undefined ? format.providerHeaders(provider, call.clientHeaders) : ownHeaders(ownLogin, call.clientHeaders);
}

/** The login's token as a call brings it; null where the run has none. Throws a Refusal for every other token, so that nobody's goes out but this one. */
export function ownTokenOf({ ownLogin }: Pick<RegisteredRun, "ownLogin">, client: IncomingHttpHeaders): string | null {
  if (ownLogin === undefined) return null;
  const token = /^Bearer (\S+)$/i.exec(client.authorization ?? "")?.[1] ?? "";
  const account = client["chatgpt-account-id"] ?? null;
  const isSame = timingSafeEqual(createHash("sha256").update(token).digest(), Buffer.from(ownLogin.tokenHash, "hex"));
  if (isSame && account === ownLogin.accountId) return token;
  throw new Refusal(401, "foreign_login", {
    message:
      "This run calls with the login that it was given, and this call has another one, or none. Runyard's gateway passes on no other.",
  });
}

function ownHeaders(ownLogin: OwnLogin, client: IncomingHttpHeaders): Record<string, string> {
  const { accountId, provider } = ownLogin;
  const pattern = PASSED[provider.api];
  const passed = Object.entries(client).flatMap(([name, value]) =>
    pattern?.test(name) && typeof value === "string" ? [[name, value]] : [],
  );
  return {
    ...(Object.fromEntries(passed) as Record<string, string>),
    authorization: `Bearer ${ownTokenOf({ ownLogin }, client)}`,
    ...(accountId !== null && { "chatgpt-account-id": accountId }),
  };
}
