import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { logIn, madeUpLogin } from "../../testing/own-logins.ts";
import { claudeLogin } from "./claude-login.ts";
import { codexLogin } from "./codex-login.ts";
import { type AgentLogin, lookAtLogin, type OwnLogin, readLogin, standInLogin } from "./own-login.ts";
import type { ProfileContext } from "./profile.ts";
import { profileNames, resolveProfile } from "./profiles.ts";

const HOUR_MS = 3_600_000;
let userHome: string;

beforeEach(() => {
  userHome = mkdtempSync(path.join(tmpdir(), "runyard-logins-"));
});
afterEach(() => rmSync(userHome, { recursive: true, force: true }));

const at = (nowMs = Date.now(), more: NodeJS.ProcessEnv = {}) => ({ env: { HOME: userHome, ...more }, nowMs });
const LOGINS: readonly (readonly ["claude" | "codex", OwnLogin])[] = [
  ["claude", claudeLogin],
  ["codex", codexLogin],
];
const put = (own: OwnLogin, content: unknown): void =>
  logIn(userHome, { place: own.place, content: typeof content === "string" ? content : JSON.stringify(content) });

/** What an agent finds in its home. */
function copyFor(name: string, login: AgentLogin): { readonly path: string; readonly content: string } {
  const context: ProfileContext = {
    workspace: "/workspace",
    home: "/home/agent",
    gatewayUrl: "http://127.0.0.1:3128",
    token: "run-token",
    model: null,
    command: null,
    builtinProgram: "/runtime/agent.mjs",
    nodeProgram: "/opt/node/bin/node",
    login,
  };
  const profile = resolveProfile(name, { ...process.env });
  if (profile === undefined || typeof profile.ownLogin === "string") throw new Error(`${name} has no login`);
  const { place } = profile.ownLogin;
  // The other files of Codex name its program, which may not be here.
  const made = name === "codex" ? codexFiles(profile, context) : profile.homeFiles(context);
  const found = made.find((file) => file.path === place);
  if (found === undefined) throw new Error("no login in the home");
  return found;
}

function codexFiles(
  profile: NonNullable<ReturnType<typeof resolveProfile>>,
  context: ProfileContext,
): ReturnType<typeof profile.homeFiles> {
  const root = path.join(userHome, "codex-acp");
  const folder = path.join(root, "node_modules/@agentclientprotocol/codex-acp");
  mkdirSync(path.join(folder, "dist"), { recursive: true });
  writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "@agentclientprotocol/codex-acp", version: "2.6.0" }));
  writeFileSync(path.join(folder, "dist/index.js"), "", { mode: 0o755 });
  const env = { RUNYARD_CODEX_ACP: root, RUNYARD_CODEX: process.execPath };
  return resolveProfile(profile.name, env)?.homeFiles(context) ?? [];
}

describe.each(LOGINS)("the login of %s", (name, own) => {
  it("is read without what renews it, and an agent gets no more than that", () => {
    const login = madeUpLogin(name);
    logIn(userHome, login);
    const read = readLogin(own, at());
    expect(read).toMatchObject({ accessToken: login.accessToken, plan: name === "claude" ? "max" : "plus" });
    expect(read.accountId).toBe(name === "claude" ? null : "acc-0123-made-up");
    expect(Math.abs((read.expiresAtMs ?? 0) - Date.now() - HOUR_MS)).toBeLessThan(60_000);
    expect(JSON.stringify(read)).not.toContain(login.refreshToken);
    const { content } = copyFor(name, read);
    expect(content).toContain(login.accessToken);
    expect(content).not.toContain(login.refreshToken);
    expect(content).not.toContain("decoy@");
    // An agent's copy is a login that can be read again.
    expect(own.parse(JSON.parse(content))).toMatchObject({ accessToken: login.accessToken, accountId: read.accountId });
  });

  it("is looked for where the program's own variable says", () => {
    const login = madeUpLogin(name);
    const folder = path.join(userHome, "elsewhere");
    logIn(folder, { place: path.basename(own.place), content: login.content });
    expect(readLogin(own, at(Date.now(), { [own.folderVariable]: folder })).accessToken).toBe(login.accessToken);
    expect(() => readLogin(own, at())).toThrow(/has no login on the server's machine: there is no .*Log in there: /);
  });

  it.each([
    [-1_000, /has expired \(2.*Renew it there: /],
    [4 * 60_000, /expires within a few minutes \(2.*Renew it there: /],
  ])("is refused with %s ms left", (leftMs, words) => {
    logIn(userHome, madeUpLogin(name, leftMs));
    expect(() => readLogin(own, at())).toThrow(words);
    expect(() => readLogin(own, at())).toThrow(own.renew);
    expect(lookAtLogin(own, at())).toMatchObject({
      expiresAtMs: expect.any(Number) as number,
      reason: expect.stringMatching(words) as string,
    });
  });

  it.each([
    ["is no JSON", "sk-decoy-secret {"],
    ["is empty", ""],
    ["is a list", []],
    ["is null", null],
    ["has other fields", { tokens: null, claudeAiOauth: "sk-decoy-secret" }],
    ["has a number for a token", { tokens: { access_token: 5 }, claudeAiOauth: { accessToken: 5 } }],
    [
      "has a token with a line break",
      { tokens: { access_token: "sk-decoy-secret-1\n2" }, claudeAiOauth: { accessToken: "sk-decoy-secret\r\nx: y" } },
    ],
    [
      "has a token that is too short to be told from words",
      { tokens: { access_token: "sk-decoy" }, claudeAiOauth: { accessToken: "sk-decoy" } },
    ],
  ])("is refused where its file %s, and nothing of it is shown", (_, content) => {
    put(own, content);
    const { reason } = lookAtLogin(own, at());
    expect(reason).toMatch(/login in .* holds no login with .* Make it anew there: /);
    expect(reason).not.toContain("decoy");
  });

  it("may leave out when it expires, or say it in no time that there is", () => {
    const { accessToken } = madeUpLogin(name);
    for (const expiresAt of [undefined, "soon", -1, Number.MAX_VALUE]) {
      put(own, { claudeAiOauth: { accessToken, expiresAt }, tokens: { access_token: `opaque-${"x".repeat(20)}`, account_id: "a" } });
      expect(readLogin(own, at()).expiresAtMs).toBeNull();
    }
  });

  it("has a stand-in where no maker is called", () => {
    expect(copyFor(name, standInLogin("ryg_0123456789abcdef", "max")).content).toContain("ryg_0123456789abcdef");
  });
});

describe("codex", () => {
  it("says what to do with an API key, and wants to know whose account it is", () => {
    put(codexLogin, { OPENAI_API_KEY: "sk-decoy-secret-0123456789", tokens: null });
    expect(lookAtLogin(codexLogin, at()).reason).toMatch(/is an API key: start the server with it as OPENAI_API_KEY/);
    put(codexLogin, { tokens: { access_token: `opaque-${"x".repeat(20)}` } });
    expect(lookAtLogin(codexLogin, at()).reason).toMatch(/does not say whose account it is/);
  });
});

it("all others say why they have none", () => {
  const others = profileNames().filter((name) => !["claude", "codex"].includes(name));
  for (const name of others) expect(resolveProfile(name)?.ownLogin).toMatch(/^\S.*\.$/);
});
