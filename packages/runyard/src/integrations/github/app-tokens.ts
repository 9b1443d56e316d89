import { createHash, sign } from "node:crypto";
import { z } from "zod";
import { type AppCall, appClaims, judgeAppAnswer, permissionsFor, suspended, usedUntil } from "../../core/github-app.ts";
import { GithubError, type GithubRefusal } from "../../core/github-answer.ts";
import type { AppTokenSource } from "../../engine/publishing.ts";
import { githubCalls } from "./client.ts";

export interface AppTokensOptions {
  /** How GitHub is reached: guarded, and with an end. */
  readonly fetch: typeof fetch;
  readonly now: () => number;
}

/** Of what GitHub says of installations and their tokens, what is used here (REST, version 2022-11-28). */
const installationSchema = z.object({
  id: z.number().int(),
  permissions: z.record(z.string(), z.string()),
  suspended_at: z.string().nullish(),
});
/** It is written into a file for git, where the end of a line would be the end of the token. */
const tokenSchema = z.object({ token: z.string().regex(/^[\x21-\x7e]{1,4096}$/), expires_at: z.iso.datetime({ offset: true }) });

interface Got {
  readonly token: string;
  readonly what: Parameters<AppTokenSource>;
  /** By this machine's clock, in milliseconds. */
  readonly usedUntil: number;
}

export interface AppTokens {
  readonly tokenFor: AppTokenSource;
  /** Does not give out again what GitHub refused: an app can be taken away, and given back, within the life of a token. */
  forget(token: string): void;
  /** A `fetch` that gets another token in place of one that is refused, and asks again with that. */
  heeding(fetch: typeof globalThis.fetch): typeof globalThis.fetch;
}

/**
 * Tokens of GitHub Apps, each for one repository and one use, with the least rights for it. They are kept in memory, here and
 * nowhere else, until shortly before their end.
 */
export function createAppTokens({ fetch, now }: AppTokensOptions): AppTokens {
  const kept = new Map<string, Got>();
  /** By themselves, also those that were refused: whoever was given one may hold it still. */
  const given = new Map<string, Got>();
  const underWay = new Map<string, Promise<Got>>();

  async function get(...what: Parameters<AppTokenSource>): Promise<Got> {
    const [app, place, use] = what;
    const { owner, name } = place;
    const { call, ask } = githubCalls({ repository: place, token: signedClaims(app, now()), fetch, now });
    const at = { appId: app.appId, host: new URL(place.apiUrl).host, owner, name, use };
    const judge = (granted: AppCall["granted"]) => (refusal: GithubRefusal) => judgeAppAnswer(refusal, { ...at, granted, nowMs: now() });
    const finding = call("GET /repos/{owner}/{repo}/installation", { owner, repo: name });
    const installation = await ask(installationSchema, finding, judge(null));
    if (typeof installation.suspended_at === "string") throw new GithubError(suspended(at));
    const asking = call("POST /app/installations/{installation_id}/access_tokens", {
      installation_id: installation.id,
      repositories: [name],
      permissions: permissionsFor(use, installation.permissions),
    });
    const { token, expires_at } = await ask(tokenSchema, asking, judge(installation.permissions));
    const answeredAt = Date.parse((await asking).headers.date ?? "") || now();
    return { token, what, usedUntil: usedUntil({ expiresAt: Date.parse(expires_at), answeredAt }, now()) };
  }

  const tokenFor: AppTokenSource = async (...what) => {
    for (const all of [kept, given]) for (const [key, got] of all) if (got.usedUntil <= now()) all.delete(key);
    const key = createHash("sha256").update(JSON.stringify(what)).digest("hex");
    const there = kept.get(key);
    if (there !== undefined) return there.token;
    const getting = underWay.get(key) ?? get(...what).finally(() => underWay.delete(key));
    underWay.set(key, getting);
    const got = await getting;
    kept.set(key, got);
    given.set(got.token, got);
    return got.token;
  };

  const forget = (token: string): void => {
    for (const [key, got] of kept) if (got.token === token) kept.delete(key);
  };

  return {
    tokenFor,
    forget,
    heeding: (inner) => async (input, init) => {
      const answer = await inner(input, init);
      const shown = new Headers(init?.headers).get("authorization")?.replace(/^Bearer /, "") ?? "";
      const what = given.get(shown)?.what;
      if (what === undefined || (answer.status !== 401 && answer.status !== 403)) return answer;
      // Read and not cloned: in Node.js 20.19 a clone that nobody has any more can take the body of the other one with it.
      const said = await answer.text();
      if (!isOfToken(answer, said)) return withText(answer, said);
      forget(shown);
      const token = await tokenFor(...what);
      const headers = { ...(init?.headers as Record<string, string>), authorization: `Bearer ${token}` };
      const second = await inner(input, { ...init, headers });
      // Whoever asked does not know this token, and so could not mask it in what the other side says.
      return withText(second, (await second.text()).replaceAll(token, "[hidden]"));
    },
  };
}

/** Whether another token of the app may do better: this one is none any more, or was got before the app was given a right. */
function isOfToken({ status }: Response, said: string): boolean {
  return status === 401 || /not accessible by integration/i.test(said);
}

function withText(answer: Response, text: string): Response {
  return new Response(text === "" ? null : text, { status: answer.status, headers: answer.headers });
}

/** What the app shows itself with: a JSON Web Token (RFC 7519), signed with RS256. */
function signedClaims({ appId, privateKey }: Parameters<AppTokenSource>[0], nowMs: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "RS256", typ: "JWT" })}.${part(appClaims(appId, nowMs))}`;
  return `${signed}.${sign("RSA-SHA256", Buffer.from(signed), privateKey).toString("base64url")}`;
}
