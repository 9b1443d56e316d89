import { z } from "zod";
import { budgetSchema } from "./budget.ts";
import { environmentSchema, environmentShownSchema, isNamedOnce, NAMED_TWICE, secretNamesSchema } from "./environment.ts";
import { agentNameSchema, savedAgentIdSchema } from "./ids.ts";
import { commandWordsSchema, mcpServersSchema, mcpServerViewSchema } from "./mcp-servers.ts";
import { permissionPolicyRequestSchema, permissionPolicySchema } from "./permission-policy.ts";
import { agentLoginSchema, runSettingsSchema } from "./run.ts";
import { dailyCapUsdSchema } from "./settings.ts";

const noNul = (text: string): boolean => !text.includes("\0");

/** Longest description and instructions, in characters. */
const MAX_DESCRIPTION_CHARS = 1_000;
const MAX_INSTRUCTIONS_CHARS = 100_000;

const descriptionSchema = z.string().trim().min(1, "must not be empty").max(MAX_DESCRIPTION_CHARS).refine(noNul, "must not contain NUL");
const instructionsSchema = z.string().trim().min(1, "must not be empty").max(MAX_INSTRUCTIONS_CHARS).refine(noNul, "must not contain NUL");
const profileSchema = z.string().min(1).max(64);
const modelSchema = z.string().min(1).max(200).refine(noNul, "must not contain NUL");

const notBoth = (agent: { profile?: unknown; command?: unknown }): boolean => agent.profile == null || agent.command == null;
const NOT_BOTH = "give a profile or a command, not both";

/** Body of `POST /v1/agents`. */
export const createAgentSchema = z
  .strictObject({
    name: agentNameSchema,
    description: descriptionSchema.optional(),
    /** The profile that it works as; default `builtin`. */
    profile: profileSchema.optional(),
    /** In its place: the words of a command that speaks ACP on stdio. */
    command: commandWordsSchema.optional(),
    /** Whose credentials its model calls have; default `gateway`. */
    login: agentLoginSchema.optional(),
    model: modelSchema.optional(),
    /** Stands in front of the first prompt of each of its runs. */
    instructions: instructionsSchema.optional(),
    permissionPolicy: permissionPolicyRequestSchema.optional(),
    mcpServers: mcpServersSchema.optional(),
    /** Variables for its runs. */
    environment: environmentSchema.optional(),
    /** Secrets that its runs are given, by their names. */
    secrets: secretNamesSchema.optional(),
    settings: runSettingsSchema.optional(),
    /** Whether its runs make a plan first. */
    plan: z.boolean().optional(),
    /** What each of its runs may use at most. */
    budget: budgetSchema.optional(),
    /** What all of its runs together may spend in a day (UTC), in US dollars. */
    dailyCapUsd: dailyCapUsdSchema.optional(),
  })
  .refine(notBoth, NOT_BOTH)
  .refine(isNamedOnce, NAMED_TWICE);
export type CreateAgentRequest = z.input<typeof createAgentSchema>;

/** Body of `PATCH /v1/agents/{aid}`: what is left out stays, null takes it away, and the rest is replaced as a whole. */
export const changeAgentSchema = z
  .strictObject({
    name: agentNameSchema.optional(),
    description: descriptionSchema.nullable().optional(),
    /** Takes the place of a command; null: `builtin`. */
    profile: profileSchema.nullable().optional(),
    /** Takes the place of a profile. */
    command: commandWordsSchema.nullable().optional(),
    login: agentLoginSchema.nullable().optional(),
    model: modelSchema.nullable().optional(),
    instructions: instructionsSchema.nullable().optional(),
    permissionPolicy: permissionPolicyRequestSchema.nullable().optional(),
    mcpServers: mcpServersSchema.nullable().optional(),
    environment: environmentSchema.nullable().optional(),
    secrets: secretNamesSchema.nullable().optional(),
    settings: runSettingsSchema.nullable().optional(),
    plan: z.boolean().nullable().optional(),
    budget: budgetSchema.nullable().optional(),
    /** Null: what they want. It holds for runs that exist too, from their next claim on. */
    dailyCapUsd: dailyCapUsdSchema.nullable().optional(),
  })
  .refine(notBoth, NOT_BOTH)
  .refine(isNamedOnce, NAMED_TWICE);
export type ChangeAgentRequest = z.input<typeof changeAgentSchema>;

/** A saved agent: what runs are that name it, where they do not say otherwise themselves. */
export const savedAgentSchema = z.object({
  id: savedAgentIdSchema,
  name: z.string(),
  description: z.string().nullable(),
  profile: z.string(),
  command: z.array(z.string()).nullable(),
  login: agentLoginSchema,
  model: z.string().nullable(),
  instructions: z.string().nullable(),
  permissionPolicy: permissionPolicySchema.nullable(),
  /** Without the values of headers and variables. */
  mcpServers: z.array(mcpServerViewSchema),
  environment: environmentShownSchema,
  secrets: z.array(z.string()),
  settings: runSettingsSchema,
  /** null: as the repository or the organization has it. */
  plan: z.boolean().nullable(),
  budget: budgetSchema.nullable(),
  /** US dollars; null: no cap. */
  dailyCapUsd: z.number().nullable(),
  /** What its runs have spent since the day began (UTC), as far as costs are known, in US dollars. */
  spentTodayUsd: z.number(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export type SavedAgent = z.infer<typeof savedAgentSchema>;

/** Query of `GET /v1/agents`: newest first. */
export const listAgentsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
});
export type ListAgentsQuery = z.input<typeof listAgentsSchema>;

export const savedAgentPageSchema = z.object({
  data: z.array(savedAgentSchema),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type SavedAgentPage = z.infer<typeof savedAgentPageSchema>;
