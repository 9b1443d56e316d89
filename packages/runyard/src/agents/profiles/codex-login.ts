import { type AgentLogin, at, type OwnLogin, textIn, timeIn, tokenIn } from "./own-login.ts";

/** Where OpenAI's tokens tell of the account. */
const ACCOUNT_CLAIMS = "https://api.openai.com/auth";

/** Codex's login with a ChatGPT subscription. */
export const codexLogin: OwnLogin = {
  title: "Codex",
  place: ".codex/auth.json",
  folderVariable: "CODEX_HOME",
  renew: "codex login",
  parse(content) {
    const accessToken = tokenIn(at(content, "tokens", "access_token"));
    if (accessToken === undefined && textIn(at(content, "OPENAI_API_KEY")) !== null)
      throw new Error("is an API key: start the server with it as OPENAI_API_KEY, and leave out --own-login. Or log in with ChatGPT.");
    if (accessToken === undefined) throw new Error("holds no login with ChatGPT that Runyard knows.");
    const claims = claimsOf(accessToken);
    const told = [at(content, "tokens", "account_id"), at(claims, ACCOUNT_CLAIMS, "chatgpt_account_id")];
    const accountId = told.map(textIn).find((id) => id !== null && /^[\w.-]{1,200}$/.test(id));
    if (accountId == null) throw new Error("does not say whose account it is.");
    return {
      accessToken,
      accountId,
      plan: textIn(at(claims, ACCOUNT_CLAIMS, "chatgpt_plan_type")),
      expiresAtMs: timeIn(at(claims, "exp"), 1_000),
    };
  },
};

/**
 * The same file for an agent. Codex wants all fields: the token to renew it with is empty, and the one that says who the
 * user is says only which account and plan, signed by nobody: Codex reads it and sends it nowhere.
 */
export function codexLoginCopy({ accessToken, accountId, plan }: AgentLogin): string {
  const claims = { [ACCOUNT_CLAIMS]: { chatgpt_account_id: accountId, chatgpt_plan_type: plan ?? undefined } };
  const tokens = { id_token: unsigned(claims), access_token: accessToken, refresh_token: "", account_id: accountId };
  const auth = { auth_mode: "chatgpt", OPENAI_API_KEY: null, tokens, last_refresh: new Date().toISOString() };
  return `${JSON.stringify(auth)}\n`;
}

/** What a token says, where it is one that says something. */
function claimsOf(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  } catch {
    return undefined;
  }
}

function unsigned(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none", typ: "JWT" })}.${part(claims)}.${Buffer.from("none").toString("base64url")}`;
}
