import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { homeAt } from "./home.ts";
import { defaultModel, keysIn, providersFile, readLoginWays, readProviders, showsKeys } from "./providers.ts";

const home = homeAt(mkdtempSync(path.join(tmpdir(), "ry-providers-")));
const file = providersFile(home);
const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
beforeEach(() => rmSync(file, { force: true }));
afterAll(() => rmSync(home.root, { recursive: true, force: true }));

function write(value: unknown): void {
  writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value), { mode: 0o600 });
}

describe("from variables", () => {
  test("each key connects its provider at the address of its maker", () => {
    const keys = {
      OPENAI_API_KEY: "k1",
      ANTHROPIC_API_KEY: "k2",
      GEMINI_API_KEY: "k3",
      OPENROUTER_API_KEY: "k4",
      MISTRAL_API_KEY: "k5",
      GROQ_API_KEY: "k6",
      DEEPSEEK_API_KEY: "k7",
      XAI_API_KEY: "k8",
    };
    expect(readProviders(home, keys).map(({ name, api, baseUrl, apiKey, model }) => [name, api, baseUrl, apiKey, model])).toEqual([
      ["openai", "openai", "https://api.openai.com/v1", "k1", null],
      ["anthropic", "anthropic", "https://api.anthropic.com", "k2", null],
      ["gemini", "gemini", "https://generativelanguage.googleapis.com", "k3", null],
      ["openrouter", "openai", "https://openrouter.ai/api/v1", "k4", null],
      ["mistral", "openai", "https://api.mistral.ai/v1", "k5", null],
      ["groq", "openai", "https://api.groq.com/openai/v1", "k6", null],
      ["deepseek", "openai", "https://api.deepseek.com/v1", "k7", null],
      ["xai", "openai", "https://api.x.ai/v1", "k8", null],
    ]);
    expect(keysIn(keys)).toEqual({ used: Object.keys(keys), unused: [] });
    expect(readProviders(home, {})).toEqual([]);
  });

  test("an address needs no key, and ends without a slash", () => {
    const env = {
      OPENAI_BASE_URL: "http://127.0.0.1:11434/v1/",
      ANTHROPIC_BASE_URL: "http://127.0.0.1:1",
      GOOGLE_GEMINI_BASE_URL: "http://127.0.0.1:2",
    };
    expect(readProviders(home, env).map(({ baseUrl, apiKey }) => [baseUrl, apiKey])).toEqual([
      ["http://127.0.0.1:11434/v1", null],
      ["http://127.0.0.1:1", null],
      ["http://127.0.0.1:2", null],
    ]);
  });

  test("of several keys of one provider the first counts, and tokens of logins go as bearer tokens", () => {
    const [one] = readProviders(home, { ANTHROPIC_AUTH_TOKEN: "t1", CLAUDE_CODE_OAUTH_TOKEN: "t2" });
    expect(one).toMatchObject({ apiKey: "t1", bearer: true });
    expect(readProviders(home, { CLAUDE_CODE_OAUTH_TOKEN: "t2" })).toMatchObject([{ apiKey: "t2", bearer: true }]);
    const env = { GOOGLE_API_KEY: "g1", GEMINI_API_KEY: "g2" };
    expect(readProviders(home, env)).toMatchObject([{ apiKey: "g2" }]);
    expect(keysIn(env)).toEqual({ used: ["GEMINI_API_KEY"], unused: ["GOOGLE_API_KEY"] });
  });

  test.each([
    [
      { OPENAI_BASE_URL: "nonsense" },
      'OPENAI_BASE_URL must be an http or https URL, for example http://127.0.0.1:11434/v1: got "nonsense"',
    ],
    [{ ANTHROPIC_BASE_URL: "ftp://x" }, "ANTHROPIC_BASE_URL must be an http or https URL"],
    [{ OPENAI_API_KEY: "sk decoy" }, "OPENAI_API_KEY must be one word of visible ASCII characters"],
    [{ OPENAI_API_KEY: "k", HTTPS_PROXY: "socks5://x" }, "HTTPS_PROXY must be"],
    [{ OPENAI_API_KEY: "k", NODE_EXTRA_CA_CERTS: "/nowhere" }, "NODE_EXTRA_CA_CERTS names a file of certificates that cannot be read"],
  ])("%j is refused in words", (env, words) => {
    expect(() => readProviders(home, env)).toThrow(words);
    expect(() => readProviders(home, env)).not.toThrow("decoy");
  });

  test.each([
    [{ OPENAI_API_KEY: "k" }, "gpt-x", "gpt-x"],
    [{ OPENAI_API_KEY: "k" }, "meta/llama", "meta/llama"],
    [{ OPENAI_API_KEY: "k" }, "openai/gpt-x", "gpt-x"],
    [{ OPENAI_API_KEY: "k", GROQ_API_KEY: "k" }, "gpt-x", "openai/gpt-x"],
    [{ OPENAI_API_KEY: "k", GROQ_API_KEY: "k" }, "groq/openai/gpt-x", "groq/openai/gpt-x"],
    [{ OPENAI_API_KEY: "k", ANTHROPIC_API_KEY: "k" }, "claude-x", "anthropic/claude-x"],
    [{ OPENAI_API_KEY: "k", GEMINI_API_KEY: "k" }, "gemini-x", "gemini/gemini-x"],
    [{}, "gpt-x", null],
  ])("with %j RUNYARD_MODEL=%s is %s", (keys, text, expected) => {
    const providers = readProviders(home, { ...keys, RUNYARD_MODEL: text });
    expect(defaultModel(providers)).toBe(expected);
    expect(providers[0]?.model ?? null).toBe(expected === null ? null : expected.replace(/^(openai|groq|anthropic|gemini)\/(?=.)/, ""));
  });
});

describe("from the file", () => {
  test("its providers come first, and take the names of those that variables would connect", () => {
    const ca = path.join(home.root, "ca.pem");
    writeFileSync(ca, PEM);
    write([
      { name: "local", api: "openai", baseUrl: "http://127.0.0.1:11434/v1/", models: ["qwen3-coder"], model: "qwen3-coder" },
      { name: "openai", api: "openai", baseUrl: "https://proxy.example.com/v1", apiKey: "env:COMPANY_KEY", ca: "ca.pem" },
      { name: "claude", api: "anthropic", apiKey: "sk-literal", bearer: true },
    ]);
    const providers = readProviders(home, { OPENAI_API_KEY: "unused", COMPANY_KEY: " k ", XAI_API_KEY: "x" });
    expect(providers).toMatchObject([
      { name: "local", baseUrl: "http://127.0.0.1:11434/v1", apiKey: null, models: ["qwen3-coder"], model: "qwen3-coder" },
      { name: "openai", baseUrl: "https://proxy.example.com/v1", apiKey: "k", ca: PEM },
      { name: "claude", baseUrl: "https://api.anthropic.com", apiKey: "sk-literal", bearer: true },
      { name: "xai" },
    ]);
    expect(defaultModel(providers)).toBe("local/qwen3-coder");
    expect(defaultModel(readProviders(home, { COMPANY_KEY: "k", RUNYARD_MODEL: "claude/claude-x" }))).toBe("claude/claude-x");
  });

  test("certificates of NODE_EXTRA_CA_CERTS are for all that is https, and proxies for what is not on this machine", () => {
    const ca = path.join(home.root, "extra.pem");
    writeFileSync(ca, PEM);
    write([{ name: "local", api: "openai", baseUrl: "http://127.0.0.1:1/v1" }]);
    const env = { NODE_EXTRA_CA_CERTS: ca, HTTPS_PROXY: "http://proxy:1", HTTP_PROXY: "http://proxy:1", XAI_API_KEY: "x" };
    const [local, xai] = readProviders(home, env);
    expect(local).not.toHaveProperty("ca");
    expect(local).not.toHaveProperty("proxy");
    expect(xai).toMatchObject({ ca: PEM, proxy: "http://proxy:1" });
  });

  test("ways of agents' own logins are told there under their names, and are no providers", () => {
    expect(readLoginWays(home, { HTTPS_PROXY: "http://proxy:1" })).toEqual({
      claude: {
        name: "claude-login",
        api: "anthropic",
        baseUrl: "https://api.anthropic.com",
        apiKey: null,
        model: null,
        proxy: "http://proxy:1",
      },
      codex: {
        name: "codex-login",
        api: "openai",
        baseUrl: "https://chatgpt.com/backend-api/codex",
        apiKey: null,
        model: null,
        proxy: "http://proxy:1",
      },
    });
    // Whatever other providers' variables say, a login goes to its maker.
    expect(readLoginWays(home, { ANTHROPIC_BASE_URL: "http://127.0.0.1:1", ANTHROPIC_API_KEY: "k" })["claude"]?.baseUrl).toBe(
      "https://api.anthropic.com",
    );
    write([{ name: "codex-login", api: "openai", baseUrl: "http://127.0.0.1:1/codex/" }]);
    expect(readLoginWays(home, {})["codex"]?.baseUrl).toBe("http://127.0.0.1:1/codex");
    expect(readProviders(home, {})).toEqual([]);
    write([{ name: "codex-login", api: "openai", apiKey: "sk-decoy" }]);
    expect(() => readLoginWays(home, {})).toThrow(/codex-login has no apiKey/);
    write([{ name: "claude-login", api: "openai" }]);
    expect(() => readLoginWays(home, {})).toThrow(/claude-login speaks the API anthropic/);
  });

  test("prices are taken as they stand there", () => {
    const prices = { "house-model": { inputUsdPerMillion: 1, outputUsdPerMillion: 5, cachedInputUsdPerMillion: 0.1 } };
    write([
      { name: "a", api: "openai", prices: "free" },
      { name: "b", api: "openai", prices },
      { name: "c", api: "anthropic", pricedAs: "anthropic" },
    ]);
    expect(readProviders(home, {})).toMatchObject([{ prices: "free" }, { prices }, { pricedAs: "anthropic" }]);
  });

  const provider = { name: "a", api: "openai" };
  test.each<[string, unknown, string]>([
    ["no JSON", "sk-decoy", "is not JSON: it must be a list of providers"],
    ["no list", {}, "the list: Invalid input"],
    ["another API", [{ ...provider, api: "decoy" }], "0.api: Invalid option"],
    ["no name", [{ api: "openai" }], "0.name: "],
    ["a name with a slash", [{ ...provider, name: "a/b" }], "0.name: must be lower-case letters"],
    ["two of one name", [provider, provider], "the list: must have names that differ"],
    ["an address that is none", [provider, { ...provider, name: "b", baseUrl: "decoy" }], "1.baseUrl: must be an http or https URL"],
    ["a field that is not known", [{ ...provider, key: "sk-decoy" }], '0: Unrecognized key: "key"'],
    ["a key of two words", [{ ...provider, apiKey: "sk decoy" }], "0.apiKey: must be one word"],
    [
      "a key in a variable that is not set",
      [{ ...provider, apiKey: "env:NOT_SET" }],
      "0.apiKey names the variable NOT_SET, which is not set",
    ],
    ["certificates that are not there", [{ ...provider, ca: "nowhere.pem" }], "0.ca names a file of certificates that cannot be read"],
    ["a price that is none", [{ ...provider, prices: { m: { inputUsdPerMillion: -1, outputUsdPerMillion: 1 } } }], "0.prices"],
    ["a price of nothing", [{ ...provider, prices: { m: { inputUsdPerMillion: 1 } } }], '0.prices: must be "free", or prices by model'],
    ["another word for free", [{ ...provider, prices: "decoy" }], '0.prices: must be "free", or prices by model'],
    ["prices of somebody that cannot be", [{ ...provider, pricedAs: "Decoy Inc." }], "0.pricedAs: must be the id of a provider"],
    ["certificates that are none", [{ ...provider, ca: "providers.json" }], "which holds no certificate in PEM"],
  ])("%s is refused with the file and the field, and without values", (_, value, words) => {
    write(value);
    expect(() => readProviders(home, {})).toThrow(words);
    expect(() => readProviders(home, {})).toThrow(file);
    expect(() => readProviders(home, {})).not.toThrow("decoy");
  });

  test("what is no file is refused in words, and a pipe is not waited for", () => {
    execFileSync("mkfifo", [file]);
    expect(() => readProviders(home, {})).toThrow(`${file} cannot be read: it is not a file`);
  });

  test("keys that others can read are noticed, where they stand there themselves", () => {
    expect(showsKeys(home)).toBe(false);
    write([{ ...provider, apiKey: "sk-literal" }]);
    expect(showsKeys(home)).toBe(false);
    chmodSync(file, 0o644);
    expect(showsKeys(home)).toBe(true);
    writeFileSync(file, JSON.stringify([{ ...provider, apiKey: "env:X" }]));
    expect(showsKeys(home)).toBe(false);
  });
});
