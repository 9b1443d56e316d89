import { runIdSchema } from "@runyard/sdk/contract";
import { z } from "zod";
import { remoteMcpServerSchema } from "./mcp-server.ts";

/** The version of the package that the gateway came with; a test compares it with package.json. */
export const GATEWAY_VERSION = "0.1.0";
/** Grows when the control API changes in a way that an older server would misunderstand. */
export const CONTROL_PROTOCOL = 2;
/** The model name that stands for "the run's model, else the first provider's that has a default one". */
export const MODEL_ALIAS = "runyard";

const baseUrlSchema = z
  .string()
  .trim()
  .refine(isPlainHttpUrl, "must be an http:// or https:// URL without a user name or password, for example https://api.openai.com/v1");

function isPlainHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "";
}

/** The families of APIs that providers speak, each with its own paths; `scripted` speaks every format at the door's own paths. */
export const PROVIDER_APIS = ["openai", "anthropic", "gemini", "scripted"] as const;
export type ProviderApi = (typeof PROVIDER_APIS)[number];

const modelNameSchema = z.string().trim().min(1).max(200);

const usdPerMillionSchema = z.number().min(0).max(1_000_000);

/** What models cost, by name, in US dollars for a million tokens. What is left out costs as much as input. */
export const priceTableSchema = z.record(
  modelNameSchema,
  z.strictObject({
    inputUsdPerMillion: usdPerMillionSchema,
    outputUsdPerMillion: usdPerMillionSchema,
    cachedInputUsdPerMillion: usdPerMillionSchema.optional(),
    cacheWriteUsdPerMillion: usdPerMillionSchema.optional(),
  }),
);
export type PriceTable = z.infer<typeof priceTableSchema>;

/** Somebody who answers model calls. */
export const providerSchema = z.strictObject({
  /** What stands before the slash in `provider/model`. */
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "must be lower-case letters, digits and . _ -, at most 64 characters"),
  api: z.enum(PROVIDER_APIS),
  /** As the programs of this API's maker take it: with the version for `openai` (`https://api.openai.com/v1`), without for the others. */
  baseUrl: baseUrlSchema,
  apiKey: z
    .string()
    .trim()
    .regex(/^[\x21-\x7e]+$/, "must be one word of visible ASCII characters")
    .nullable(),
  /** The key goes as a bearer token, whatever the API's own way is: so do the tokens of logins and of many proxies. */
  bearer: z.boolean().optional(),
  /** What the alias `runyard` means where a run names no model. */
  model: modelNameSchema.nullable(),
  /** Listed in place of what it would answer when asked for its models. */
  models: z.array(modelNameSchema).readonly().optional(),
  /** The URL of the proxy by which it is reached. */
  proxy: z.url({ protocol: /^https?$/ }).optional(),
  /** Certificates, in PEM, of authorities that vouch for it beside those whom Node.js trusts. */
  ca: z.string().optional(),
  /** What its models cost; `free`: nothing. Models that are not in the table have the price of the public lists. */
  prices: z.union([z.literal("free"), priceTableSchema]).optional(),
  /** The id of the provider in the public lists whose prices hold; left out: the one whose host is in `baseUrl`. */
  pricedAs: z.string().trim().min(1).max(100).optional(),
});
export type Provider = z.infer<typeof providerSchema>;

/** In the order in which they are asked for a model that none of them names as its own. */
export const providersSchema = z
  .array(providerSchema)
  .max(50)
  .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, "must have names that differ");

/** What a run may spend, and what it has spent as the database knows it. */
const runBudgetSchema = z.strictObject({
  /** Nano US dollars; null: as many as it takes. */
  nanoUsd: z.number().int().positive().nullable(),
  /** Input and output together; null: as many as it takes. */
  tokens: z.number().int().positive().nullable(),
  spentNanoUsd: z.number().int().min(0),
  spentTokens: z.number().int().min(0),
  /** How many bytes of this host's journal of the run are in these two; the rest was spent on other hosts. */
  readTo: z.number().int().min(0),
  /** The dollars are the share of a daily cap that was set aside for the run. */
  isShare: z.boolean(),
});
export type RunBudget = z.infer<typeof runBudgetSchema>;

/** Only ASCII that can stand in a header: nothing of it ends a line. */
const headerContentSchema = z.string().regex(/^[\x20-\x7e]{1,10000}$/, "must be visible ASCII characters");

const injectedSchema = z.strictObject({
  headers: z.array(
    z.strictObject({
      /** The name of the secret. */
      secret: z.string(),
      /** Its value, which is taken out of answers. */
      value: headerContentSchema,
      host: z.string(),
      port: z.number().int().min(1).max(65_535),
      /** The header's name, in lower case. */
      name: z.string().regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/),
      content: headerContentSchema,
    }),
  ),
  /** By which the gateway shows itself to the run's programs in the place of those hosts, in PEM; the run's sandbox trusts it. */
  authority: z.strictObject({ certificate: z.string(), key: z.string() }),
  /** By which those hosts have to show themselves, in PEM. */
  trusted: z.string(),
});
export type Injected = z.infer<typeof injectedSchema>;

export const registerRunSchema = z.strictObject({
  token: z.string().regex(/^[\x21-\x7e]{16,500}$/, "must be 16 to 500 visible ASCII characters"),
  model: modelNameSchema.nullable(),
  /** True: the scripted model answers this run. False: it never does. */
  simulated: z.boolean(),
  /** Its agent reaches them at `/mcp/<name>`. */
  mcpServers: z.array(remoteMcpServerSchema).default([]),
  /** What the run is at, for its journal; null: not told. */
  turn: z.number().int().min(1).nullable().default(null),
  attempt: z.number().int().min(1).nullable().default(null),
  /** The recorded run whose turn answers this one's calls; then no provider is called, whatever else is said. Null: it is no replay. */
  replay: z
    .strictObject({ runId: runIdSchema, turn: z.number().int().min(1) })
    .nullable()
    .default(null),
  /** What its agent was given as secrets: kept out of what is recorded. */
  secrets: z.array(z.strictObject({ name: z.string(), value: z.string() })).default([]),
  /** Hosts that its programs may reach, as patterns (core/egress.ts), presets written out. */
  egress: z.array(z.string()).default([]),
  /** Networks of this host's surroundings, as `10.0.0.0/8`, in which those hosts may be. */
  egressNetworks: z.array(z.string()).default([]),
  /** Headers that the gateway puts into requests of its programs, and what that takes. */
  injected: injectedSchema.optional(),
  /** It has those hosts and nothing else: no model, no MCP server. Left out: it has them too. */
  egressOnly: z.literal(true).optional(),
  /** Left out: it may spend what it wants. */
  budget: runBudgetSchema.optional(),
  /** Its agent calls with a login of its own, which goes out as it comes in, to this provider and to nobody else. Left out: with the providers' keys. */
  ownLogin: z
    .strictObject({
      /** Without a key. */
      provider: providerSchema.extend({ apiKey: z.null() }),
      /** SHA-256 of the login's token, in hex. */
      tokenHash: z.string().regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in hex"),
      /** As calls name it, where they do. */
      accountId: z.string().min(1).max(200).nullable(),
    })
    .optional(),
});
export const runStateSchema = registerRunSchema.extend({ runId: runIdSchema });
export type RegisteredRun = z.infer<typeof runStateSchema>;
/** The same, with what is null left out. */
export type RunToRegister = z.input<typeof runStateSchema>;

/** Everything that a gateway was told; handed from one process to the next, never written anywhere. */
export const gatewayStateSchema = z.object({ providers: providersSchema, runs: z.array(runStateSchema) });
export type GatewayState = z.infer<typeof gatewayStateSchema>;

/** What a provider says of its models; with a `problem`, in plain words, it said nothing. */
export const providerModelsSchema = z.object({
  provider: z.string(),
  models: z.array(
    z.object({
      /** As the provider knows it. */
      id: z.string(),
      /** For people. */
      name: z.string().nullable(),
      contextTokens: z.number().int().nullable(),
      inputUsdPerMillion: z.number().nullable(),
      outputUsdPerMillion: z.number().nullable(),
      cachedInputUsdPerMillion: z.number().nullable(),
    }),
  ),
  problem: z.string().nullable(),
});
export type ProviderModels = z.infer<typeof providerModelsSchema>;

export const gatewayHealthSchema = z.object({
  pid: z.number().int(),
  version: z.string(),
  protocol: z.number().int(),
  /** SHA-256 of the program file, in hex. */
  programHash: z.string(),
  /** The port on 127.0.0.1; null until the gateway has taken its name. */
  tcpPort: z.number().int().nullable(),
  /** Model calls under way. */
  openExchanges: z.number().int(),
  /** The ids of the runs that may call. */
  runs: z.array(z.string()),
});
export type GatewayHealth = z.infer<typeof gatewayHealthSchema>;

/** Body of `POST /take`: the number of the life that the caller saw as the newest. */
export const takeSchema = z.strictObject({ replaces: z.number().int().min(0) });

/** What is wrong with something, field by field, without the values: they may be secret. */
export function problemsOf(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".") || "it"} ${issue.message}`).join("; ");
}
