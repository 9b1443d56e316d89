import { z } from "zod";
import { isolationSchema, sandboxDriverSchema } from "./run.ts";

/** What a server does: `all`, or one of the two halves of it (`api` serves, `runner` executes runs). */
export const SERVER_ROLES = ["all", "api", "runner"] as const;
export type ServerRole = (typeof SERVER_ROLES)[number];

/** A runner of the database: a server that executes runs, or did until it was lost. */
export const runnerViewSchema = z.object({
  id: z.string(),
  /** `lost`: it did not say for a whole lease that it lives, and its runs were given to others. */
  state: z.enum(["alive", "lost"]),
  /** Runs of the token's organization that it has in hand. */
  runs: z.number().int(),
  /** When it said last that it lives, by the database's clock. */
  lastSeen: z.iso.datetime(),
});
export type RunnerView = z.infer<typeof runnerViewSchema>;

/** The families of APIs that providers of models speak. */
export const PROVIDER_APIS = ["openai", "anthropic", "gemini"] as const;
export const providerApiSchema = z.enum(PROVIDER_APIS);
export type ProviderApi = z.infer<typeof providerApiSchema>;

/** How the server stands: answer of `GET /v1/status`. */
export const serverStatusSchema = z.object({
  version: z.string(),
  startedAt: z.iso.datetime(),
  /** It takes no new runs, and ends once those in hand have. */
  draining: z.boolean(),
  /** True when every run gets the scripted model. */
  simulated: z.boolean(),
  model: z.object({
    connected: z.boolean(),
    /** The model of runs that name none; with several providers as `provider/model`. */
    name: z.string().nullable(),
    /** Where requests to it go: host and port, never a key. */
    host: z.string().nullable(),
    /** Everybody who answers model calls of this server's runs, in the order in which they are asked for a model that is nobody's own. */
    providers: z.array(
      z.object({
        /** What stands before the slash in `provider/model`. */
        name: z.string(),
        api: providerApiSchema,
        /** Host and port. */
        host: z.string(),
      }),
    ),
  }),
  /** What runs get that name no sandbox. */
  sandbox: z.object({
    driver: sandboxDriverSchema,
    available: z.boolean(),
    /** Why it is not available, and what to do. */
    reason: z.string().nullable(),
    isolation: isolationSchema,
    /** Whether such a limit could be enforced on this machine. */
    limits: z.object({ memory: z.boolean(), cpus: z.boolean(), pids: z.boolean() }),
  }),
  /** Runs of the token's organization. */
  runs: z.object({
    running: z.number().int(),
    /** For an answer: their agents live, and they keep their places. */
    waiting: z.number().int(),
    /** For a decision about their plans: they take no place. */
    awaitingPlan: z.number().int(),
    /** For the checks of what they published: they take no place. */
    awaitingChecks: z.number().int(),
    queued: z.number().int(),
    /** Most at a time, those that wait for a person included; further ones are queued. */
    limit: z.number().int(),
  }),
  agents: z.array(
    z.object({
      name: z.string(),
      installed: z.boolean(),
      version: z.string().nullable(),
      /** Why it cannot be used, and what to do. */
      reason: z.string().nullable(),
      /** The one command that installs it; null: there is nothing to install. */
      install: z.string().nullable(),
      /**
       * Whose key its model calls are paid with, and the variable or file that the server has it from (null: that provider
       * wants none). The key itself never reaches an agent. Null: nobody who is connected speaks its API, or the server simulates.
       */
      credential: z.object({ provider: z.string(), from: z.string().nullable() }).nullable(),
      /**
       * The login that the program itself holds on the server's machine, where runs can have it; null: of this agent they
       * cannot. `reason`: why it cannot be used now, and what to do.
       */
      login: z.object({ usable: z.boolean(), expiresAt: z.iso.datetime().nullable(), reason: z.string().nullable() }).nullable(),
    }),
  ),
  database: z.enum(["embedded", "external"]),
  /** What the server that answers does. */
  role: z.enum(SERVER_ROLES),
  /** Everybody who executes runs of this database, by id. */
  runners: z.array(runnerViewSchema),
});
export type ServerStatus = z.infer<typeof serverStatusSchema>;

/** One thing that a server needs to take work. With a warning it can. */
export const readinessCheckSchema = z.object({
  name: z.enum(["database", "clock", "disk", "gateway", "server"]),
  state: z.enum(["ok", "warning", "failed"]),
  /** What is wrong, in a sentence. */
  reason: z.string().nullable(),
});
export type ReadinessCheck = z.infer<typeof readinessCheckSchema>;

/** Answer of `GET /readyz` where nothing has failed; else it is the problem `unavailable`, with the same checks. */
export const readinessSchema = z.object({ status: z.literal("ok"), checks: z.array(readinessCheckSchema) });
export type Readiness = z.infer<typeof readinessSchema>;

/** Body of `POST /v1/auth/login-links`. */
export const createLoginLinkSchema = z.strictObject({});

/** A link that signs one browser in, once. */
export const loginLinkSchema = z.object({ url: z.url(), expiresAt: z.iso.datetime() });
export type LoginLink = z.infer<typeof loginLinkSchema>;

/** Answer of `GET /`: what this is, and where to go on. */
export const serverHomeSchema = z.object({ name: z.literal("runyard"), version: z.string(), links: z.record(z.string(), z.string()) });
export type ServerHome = z.infer<typeof serverHomeSchema>;
