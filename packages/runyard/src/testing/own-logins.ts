import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Logins that nobody gave: their tokens are good for nothing but to be looked for. */
export interface MadeUpLogin {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Where the agent program keeps it, below the user's home. */
  readonly place: string;
  /** The file's content. */
  readonly content: string;
}

const ACCOUNT = "acc-0123-made-up";
const HOUR_MS = 3_600_000;

/** A login of the agent of that name that holds for so long. */
export function madeUpLogin(name: "claude" | "codex", holdsMs = HOUR_MS): MadeUpLogin {
  const expiresAt = Date.now() + holdsMs;
  const refreshToken = `decoy-refresh-token-of-${name}`;
  if (name === "claude") {
    const accessToken = `sk-ant-oat01-decoy-access-token-${holdsMs}`;
    const claudeAiOauth = { accessToken, refreshToken, expiresAt, scopes: ["user:inference", "user:profile"], subscriptionType: "max" };
    return { accessToken, refreshToken, place: ".claude/.credentials.json", content: JSON.stringify({ claudeAiOauth }) };
  }
  const claims = { "https://api.openai.com/auth": { chatgpt_account_id: ACCOUNT, chatgpt_plan_type: "plus" } };
  const accessToken = jwt({ ...claims, exp: Math.floor(expiresAt / 1_000) });
  const tokens = {
    id_token: jwt({ ...claims, email: "decoy@runyard.invalid" }),
    access_token: accessToken,
    refresh_token: refreshToken,
    account_id: ACCOUNT,
  };
  const content = JSON.stringify({ auth_mode: "chatgpt", OPENAI_API_KEY: null, tokens, last_refresh: "2026-01-01T00:00:00Z" });
  return { accessToken, refreshToken, place: ".codex/auth.json", content };
}

/** The same in a user's home. */
export function logIn(userHome: string, login: Pick<MadeUpLogin, "place" | "content">): void {
  const file = path.join(userHome, login.place);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, login.content, { mode: 0o600 });
}

function jwt(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none", typ: "JWT" })}.${part(claims)}.${Buffer.from("signature").toString("base64url")}`;
}
