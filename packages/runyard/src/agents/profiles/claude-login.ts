import { type AgentLogin, at, type OwnLogin, textIn, timeIn, tokenIn } from "./own-login.ts";

/** Claude Code's login with a subscription, as it keeps it where there is no keychain. */
export const claudeLogin: OwnLogin = {
  title: "Claude Code",
  place: ".claude/.credentials.json",
  folderVariable: "CLAUDE_CONFIG_DIR",
  renew: "claude, and in it /login",
  parse(content) {
    const accessToken = tokenIn(at(content, "claudeAiOauth", "accessToken"));
    if (accessToken === undefined) throw new Error("holds no login with a subscription that Runyard knows.");
    return {
      accessToken,
      accountId: null,
      plan: textIn(at(content, "claudeAiOauth", "subscriptionType")),
      expiresAtMs: timeIn(at(content, "claudeAiOauth", "expiresAt"), 1),
    };
  },
};

/** The same file for an agent: without a token to renew it with, and good for model calls alone. */
export function claudeLoginCopy({ accessToken, plan, expiresAtMs }: AgentLogin): string {
  const claudeAiOauth = { accessToken, refreshToken: null, expiresAt: expiresAtMs, scopes: ["user:inference"], subscriptionType: plan };
  return `${JSON.stringify({ claudeAiOauth })}\n`;
}
