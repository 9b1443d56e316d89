import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import type { ModelProvider } from "./configuration.ts";
import { makersApi } from "./core/model-families.ts";
import type { Home } from "./home.ts";
import { proxyFor } from "./proxy.ts";

/** A provider that is connected by variables alone. */
interface KnownProvider extends Pick<ModelProvider, "name" | "api" | "baseUrl"> {
  /** Names another address, with a key or without. */
  readonly baseUrlVariable: string | null;
  /** Of those that are set the first counts. */
  readonly keys: readonly string[];
}

const KNOWN: readonly KnownProvider[] = [
  known("openai", "https://api.openai.com/v1", { baseUrlVariable: "OPENAI_BASE_URL" }),
  known("anthropic", "https://api.anthropic.com", {
    api: "anthropic",
    baseUrlVariable: "ANTHROPIC_BASE_URL",
    keys: ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"],
  }),
  known("gemini", "https://generativelanguage.googleapis.com", {
    api: "gemini",
    baseUrlVariable: "GOOGLE_GEMINI_BASE_URL",
    keys: ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
  }),
  known("openrouter", "https://openrouter.ai/api/v1"),
  known("mistral", "https://api.mistral.ai/v1"),
  known("groq", "https://api.groq.com/openai/v1"),
  known("deepseek", "https://api.deepseek.com/v1"),
  known("xai", "https://api.x.ai/v1"),
];

function known(name: string, baseUrl: string, more: Partial<KnownProvider> = {}): KnownProvider {
  return { name, api: "openai", baseUrl, baseUrlVariable: null, keys: [`${name.toUpperCase()}_API_KEY`], ...more };
}

/** Where calls go that an agent makes with the login of its own program, by profile; in `providers.json` each has a name that means it. */
const LOGIN_WAYS: Readonly<Record<string, KnownProvider>> = {
  claude: known("claude-login", "https://api.anthropic.com", { api: "anthropic", keys: [] }),
  codex: known("codex-login", "https://chatgpt.com/backend-api/codex", { keys: [] }),
};

/** Those of which no API key but a login's token is asked: such go as bearer tokens. */
const BEARER_KEYS: ReadonlySet<string> = new Set(["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]);

/** Which variables hold a key: those that are used, and those in whose place another one is. */
export function keysIn(env: NodeJS.ProcessEnv): { readonly used: readonly string[]; readonly unused: readonly string[] } {
  const there = KNOWN.map(({ keys }) => keys.filter((name) => env[name]?.trim()));
  return { used: there.flatMap((keys) => keys.slice(0, 1)), unused: there.flatMap((keys) => keys.slice(1)) };
}

/** Where providers are listed that variables cannot tell of, or not as one wants them. */
export function providersFile(home: Home): string {
  return path.join(home.root, "providers.json");
}

/**
 * Everybody who answers model calls: those of `providers.json` in the home, then those whose variables are set and whose names
 * are not taken. Whoever has the model of `RUNYARD_MODEL` comes first. Throws an Error with a plain sentence that says which
 * variable, or which field of the file, is wrong; it never shows a key.
 */
export function readProviders(home: Home, env: NodeJS.ProcessEnv): ModelProvider[] {
  const listed = readProvidersFile(providersFile(home), env).filter(({ name }) => loginWayOf(name) === undefined);
  const taken = new Set(listed.map(({ name }) => name));
  const all = [...listed, ...KNOWN.filter(({ name }) => !taken.has(name)).flatMap((one) => fromVariables(one, env))];
  return withDefault(all, env["RUNYARD_MODEL"]?.trim() || null).map((provider) => withWay(provider, env));
}

/** Somebody to whom calls go with the login that an agent program holds. */
export type LoginWay = ModelProvider & { readonly apiKey: null };

/**
 * Where calls with agents' own logins go, by profile: to the program's maker, or where `providers.json` says under the names
 * `claude-login` and `codex-login`. Throws an Error as above.
 */
export function readLoginWays(home: Home, env: NodeJS.ProcessEnv): Readonly<Record<string, LoginWay>> {
  const file = providersFile(home);
  const listed = readProvidersFile(file, env);
  const ways = Object.entries(LOGIN_WAYS).map(([profile, { name, api, baseUrl }]) => {
    const told = listed.find((one) => one.name === name);
    if (told !== undefined && told.apiKey !== null) throw new Error(`${file}: ${name} has no apiKey: its calls have the agent's own login`);
    if (told !== undefined && told.api !== api) throw new Error(`${file}: ${name} speaks the API ${api}, and nothing else`);
    const way = {
      ...withWay({ name, api, baseUrl: told?.baseUrl ?? baseUrl, apiKey: null, model: null, ca: told?.ca }, env),
      apiKey: null,
    };
    return [profile, way] as const;
  });
  return Object.fromEntries(ways);
}

function loginWayOf(name: string): KnownProvider | undefined {
  return Object.values(LOGIN_WAYS).find((way) => way.name === name);
}

/** The model of runs that name none: the first that a provider has as its own. With several providers it says whose it is. */
export function defaultModel(providers: readonly ModelProvider[]): string | null {
  const found = providers.find(({ model }) => model !== null);
  if (found === undefined) return null;
  return providers.length === 1 ? found.model : `${found.name}/${found.model}`;
}

function fromVariables({ baseUrlVariable, keys, ...own }: KnownProvider, env: NodeJS.ProcessEnv): ModelProvider[] {
  const told = baseUrlVariable === null ? undefined : env[baseUrlVariable] || undefined;
  const key = keys.find((name) => env[name]?.trim());
  if (told === undefined && key === undefined) return [];
  if (told !== undefined && !isHttpUrl(told))
    throw new Error(`${baseUrlVariable} must be an http or https URL, for example http://127.0.0.1:11434/v1: got ${JSON.stringify(told)}`);
  const apiKey = key === undefined ? null : (env[key]?.trim() ?? null);
  if (apiKey !== null && !isOneWord(apiKey)) throw new Error(`${key} must be one word of visible ASCII characters`);
  const bearer = key !== undefined && BEARER_KEYS.has(key) ? { bearer: true } : {};
  return [{ ...own, baseUrl: (told ?? own.baseUrl).replace(/\/+$/, ""), apiKey, model: null, ...bearer }];
}

function isHttpUrl(text: string): boolean {
  return /^https?:\/\//.test(text) && URL.canParse(text);
}

function isOneWord(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

/** Puts the default model to the provider that it names, else to its maker, else to the first one; and that provider in front. */
function withDefault(providers: readonly ModelProvider[], text: string | null): readonly ModelProvider[] {
  if (text === null || providers[0] === undefined) return providers;
  const maker = makersApi(text);
  const named = providers.find(({ name }) => text.startsWith(`${name}/`));
  const owner = named ?? providers.find(({ api }) => api === maker) ?? providers[0];
  const model = named === undefined ? text : text.slice(named.name.length + 1);
  return [{ ...owner, model }, ...providers.filter((provider) => provider !== owner)];
}

/** By which proxy a provider is reached, and who vouches for it beside those whom everybody trusts. */
function withWay(provider: ModelProvider, env: NodeJS.ProcessEnv): ModelProvider {
  const proxy = proxyFor(provider.baseUrl, env);
  const isTls = provider.baseUrl.startsWith("https:");
  const ca = [provider.ca, isTls ? extraCertificates(env) : null].filter((text) => typeof text === "string");
  return { ...provider, ...(proxy === null ? {} : { proxy }), ...(ca.length === 0 ? {} : { ca: ca.join("\n") }) };
}

/** The certificates of `NODE_EXTRA_CA_CERTS`, in PEM; null: it names none. */
export function extraCertificates(env: NodeJS.ProcessEnv): string | null {
  const extra = env["NODE_EXTRA_CA_CERTS"];
  return extra ? readCertificates(extra, "NODE_EXTRA_CA_CERTS") : null;
}

/** Certificates in PEM; `place` says who named the file. */
function readCertificates(file: string, place: string): string {
  const text = ((): string => {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      throw new Error(`${place} names a file of certificates that cannot be read: ${(error as Error).message}`, { cause: error });
    }
  })();
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new Error(`${place} names ${file}, which holds no certificate in PEM`);
}

const modelName = z.string().trim().min(1).max(200);

const usdPerMillion = z.number().min(0).max(1_000_000);
const pricesSchema = z.record(
  modelName,
  z.strictObject({
    inputUsdPerMillion: usdPerMillion,
    outputUsdPerMillion: usdPerMillion,
    cachedInputUsdPerMillion: usdPerMillion.optional(),
    cacheWriteUsdPerMillion: usdPerMillion.optional(),
  }),
);

const fileSchema = z
  .array(
    z.strictObject({
      name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "must be lower-case letters, digits and . _ -, at most 64 characters"),
      api: z.enum(["openai", "anthropic", "gemini"]),
      baseUrl: z.string().trim().refine(isHttpUrl, "must be an http or https URL").optional(),
      apiKey: z
        .string()
        .trim()
        .refine(isOneWord, 'must be one word of visible ASCII characters, or "env:" with a variable\'s name')
        .optional(),
      bearer: z.boolean().optional(),
      model: modelName.optional(),
      models: z.array(modelName).max(1_000).optional(),
      ca: z.string().min(1).optional(),
      prices: z.union([z.literal("free"), pricesSchema], 'must be "free", or prices by model').optional(),
      pricedAs: z
        .string()
        .regex(/^[a-z0-9][a-z0-9._-]{0,99}$/, "must be the id of a provider of the public lists, for example openai")
        .optional(),
    }),
  )
  .max(50)
  .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, "must have names that differ");

/** For the APIs with one maker. */
const BASE_URLS: Readonly<Record<ModelProvider["api"], string>> = {
  openai: "https://api.openai.com/v1",
  anthropic: "https://api.anthropic.com",
  gemini: "https://generativelanguage.googleapis.com",
};

function readProvidersFile(file: string, env: NodeJS.ProcessEnv): ModelProvider[] {
  const text = ((): string | null => {
    try {
      // A pipe would be waited for, for ever.
      if (!statSync(file).isFile()) throw new Error("it is not a file");
      return readFileSync(file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw new Error(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
    }
  })();
  if (text === null) return [];
  return parseProviders(text, file).map(({ baseUrl, apiKey, model, ca, ...own }, index) => {
    const url = (baseUrl ?? BASE_URLS[own.api]).replace(/\/+$/, "");
    const key = apiKey === undefined ? null : keyOf(apiKey, { env, place: `${file}: ${index}.apiKey` });
    const certificates = ca === undefined ? {} : { ca: readCertificates(path.resolve(path.dirname(file), ca), `${file}: ${index}.ca`) };
    return { ...own, baseUrl: url, apiKey: key, model: model ?? null, ...certificates };
  });
}

/** Whether a key stands in the file itself while others than its user may read it. */
export function showsKeys(home: Home): boolean {
  const file = providersFile(home);
  if (!existsSync(file) || (statSync(file).mode & 0o077) === 0) return false;
  return parseProviders(readFileSync(file, "utf8"), file).some(({ apiKey }) => apiKey !== undefined && !apiKey.startsWith("env:"));
}

function parseProviders(text: string, file: string): z.infer<typeof fileSchema> {
  const value = ((): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      // What the parser says would quote the text, and with it perhaps a key.
      throw new Error(`${file} is not JSON: it must be a list of providers`);
    }
  })();
  const result = fileSchema.safeParse(value);
  if (result.success) return result.data;
  throw new Error(`${file}: ${result.error.issues.map((issue) => `${issue.path.join(".") || "the list"}: ${issue.message}`).join("; ")}`);
}

/** A key that stands there itself, or in the variable that it names. */
function keyOf(text: string, { env, place }: { env: NodeJS.ProcessEnv; place: string }): string {
  const variable = /^env:(.+)$/.exec(text)?.[1];
  if (variable === undefined) return text;
  const key = env[variable]?.trim();
  if (!key) throw new Error(`${place} names the variable ${variable}, which is not set`);
  if (isOneWord(key)) return key;
  throw new Error(`${place} names the variable ${variable}, which must be one word of visible ASCII characters`);
}
