import { z } from "zod";
import { approvalAboveUsdSchema } from "./approval.ts";
import { checksSettingsSchema, checksShownSchema } from "./checks.ts";
import { egressSchema } from "./egress.ts";
import { environmentSchema, environmentShownSchema, isNamedOnce, NAMED_TWICE, secretNamesSchema } from "./environment.ts";
import { repositoryIdSchema } from "./ids.ts";
import { isolationFloorSchema } from "./isolation-floor.ts";
import { publishDefaultsOfRuns, publishDefaultsShown } from "./publish-defaults.ts";
import { publishingOfRuns, publishingShown, signingKeySchema, signingKeyShownSchema } from "./publishing.ts";
import { runDefaultsOfRepository, runDefaultsShown } from "./run-defaults.ts";
import { setupSchema, setupShownSchema } from "./setup.ts";

const noNul = (text: string): boolean => !text.includes("\0");

/** Longest planning statement, in characters. */
export const MAX_STATEMENT_CHARS = 20_000;

/** An absolute path (or a `file://` URL) of a git repository on the server's machine. */
export const repositoryUrlSchema = z.string().min(1).max(4096).refine(noNul, "must not contain NUL");

const egressOfRuns = {
  /** Hosts and presets that runs may reach beside their own, in place of those that there were; null: none. */
  egress: egressSchema.nullable().optional(),
};

const variablesOfRuns = {
  /** Variables for runs, in place of those that there were; null: none. */
  environment: environmentSchema.nullable().optional(),
  /** Secrets that runs are given, by their names, in place of those that there were; null: none. */
  secrets: secretNamesSchema.nullable().optional(),
};

const repositorySettings = z.strictObject({
  /** Whether its runs make a plan first, where they do not say themselves; null: as the organization has it. */
  plan: z.boolean().nullable().optional(),
  /** What every plan of the repository goes by; the agent is told so. Null: nothing. */
  planningStatement: z
    .string()
    .trim()
    .min(1, "must not be empty: null takes it away")
    .max(MAX_STATEMENT_CHARS)
    .refine(noNul, "must not contain NUL")
    .nullable()
    .optional(),
  /** Whether plans are approved by policy at once, unless the run says how long they wait. */
  autoConfirmPlans: z.boolean().optional(),
  /** Above which estimate its runs wait for a person before they begin, in US dollars; null: as the others that hold for them have it. */
  approvalAboveUsd: approvalAboveUsdSchema.nullable().optional(),
  ...egressOfRuns,
  ...publishingOfRuns,
  ...publishDefaultsOfRuns,
  /** Whether commits name the person who asked, as a co-author; null: as the organization has it. */
  coAuthor: z.boolean().nullable().optional(),
  /** Set-up of its runs, where they do not say themselves; null: none. */
  setup: setupSchema.nullable().optional(),
  /** What holds for the checks of what its runs publish, in place of all that held before; null: its runs wait for none. */
  checks: checksSettingsSchema.nullable().optional(),
  ...runDefaultsOfRepository,
  ...variablesOfRuns,
});

/** Body of `PATCH /v1/repositories/{rid}`: what is left out stays. */
export const changeRepositorySchema = repositorySettings.refine(isNamedOnce, NAMED_TWICE);
export type ChangeRepositoryRequest = z.input<typeof changeRepositorySchema>;

/** Body of `POST /v1/repositories`: a repository, and what is to hold for its runs. */
export const createRepositorySchema = repositorySettings.extend({ repositoryUrl: repositoryUrlSchema }).refine(isNamedOnce, NAMED_TWICE);
export type CreateRepositoryRequest = z.input<typeof createRepositorySchema>;

/** A repository of the organization, with what holds for its runs. */
export const repositorySchema = z.object({
  id: repositoryIdSchema,
  /** The root of the repository on the server's machine. */
  repositoryUrl: z.string(),
  plan: z.boolean().nullable(),
  planningStatement: z.string().nullable(),
  autoConfirmPlans: z.boolean(),
  /** US dollars; null: it has no limit of its own. */
  approvalAboveUsd: z.number().nullable(),
  egress: z.array(z.string()),
  ...publishingShown,
  ...publishDefaultsShown,
  /** Null: as the organization has it. */
  coAuthor: z.boolean().nullable(),
  environment: environmentShownSchema,
  secrets: z.array(z.string()),
  /** Null: its runs have none, unless they say so. */
  setup: setupShownSchema.nullable(),
  /** Null: its runs wait for no checks, unless they say so. */
  checks: checksShownSchema.nullable(),
  ...runDefaultsShown,
  createdAt: z.iso.datetime(),
});
export type Repository = z.infer<typeof repositorySchema>;

/** Query of `GET /v1/repositories`: newest first. */
export const listRepositoriesSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
});
export type ListRepositoriesQuery = z.input<typeof listRepositoriesSchema>;

export const repositoryPageSchema = z.object({
  data: z.array(repositorySchema),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type RepositoryPage = z.infer<typeof repositoryPageSchema>;

/** What may be spent in a day (UTC), in US dollars. */
export const dailyCapUsdSchema = z.number().positive().max(1_000_000);

/** Body of `PATCH /v1/organization`: what is left out stays. */
export const changeOrganizationSchema = z
  .strictObject({
    /** Whether runs make a plan first, where neither they nor their repository say. */
    planFirst: z.boolean().optional(),
    /** What all runs together may spend in a day (UTC), in US dollars; null: what they want. */
    dailyCapUsd: dailyCapUsdSchema.nullable().optional(),
    /** Above which estimate runs wait for a person before they begin, in US dollars; null: none does, unless its repository, its agent or the run says so. */
    approvalAboveUsd: approvalAboveUsdSchema.nullable().optional(),
    /** What sandboxes of runs must keep, or the runs are refused; null: `sandbox`, but for runs for which the driver `process` was chosen. */
    isolationFloor: isolationFloorSchema.nullable().optional(),
    ...egressOfRuns,
    ...publishingOfRuns,
    ...publishDefaultsOfRuns,
    /** Whether commits name the person who asked, as a co-author. */
    coAuthor: z.boolean().optional(),
    /** A private key that signs commits of runs, in place of the one that there was; null: none. It is never given out. */
    signingKey: signingKeySchema.nullable().optional(),
    /** The only hosts and presets that runs may be given, whoever gives them; null: any. */
    egressAllowed: egressSchema.nullable().optional(),
    ...variablesOfRuns,
  })
  .refine(isNamedOnce, NAMED_TWICE);
export type ChangeOrganizationRequest = z.input<typeof changeOrganizationSchema>;

/** The organization of the token. */
export const organizationSchema = z.object({
  id: z.string(),
  name: z.string(),
  planFirst: z.boolean(),
  /** US dollars; null: no cap. */
  dailyCapUsd: z.number().nullable(),
  /** What runs have spent since the day began (UTC), as far as costs are known, in US dollars. */
  spentTodayUsd: z.number(),
  /** US dollars; null: it has no limit. */
  approvalAboveUsd: z.number().nullable(),
  /** null: none of its own. */
  isolationFloor: isolationFloorSchema.nullable(),
  egress: z.array(z.string()),
  ...publishingShown,
  ...publishDefaultsShown,
  coAuthor: z.boolean(),
  /** Null: commits are not signed. */
  signingKey: signingKeyShownSchema.nullable(),
  /** null: there is no such limit. */
  egressAllowed: z.array(z.string()).nullable(),
  environment: environmentShownSchema,
  secrets: z.array(z.string()),
  createdAt: z.iso.datetime(),
});
export type Organization = z.infer<typeof organizationSchema>;
