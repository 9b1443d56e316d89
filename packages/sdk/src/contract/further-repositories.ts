import { z } from "zod";
import { branchSchema } from "./run-defaults.ts";
import { repositoryUrlSchema } from "./settings.ts";

/** Most further repositories of a run. */
export const MAX_FURTHER_REPOSITORIES = 8;

/** Names a folder and stands in paths and queries. */
export const repositoryNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    "must be 1 to 64 letters, digits, dots, dashes and underscores, and begin with a letter or a digit",
  );

export const REPOSITORY_ACCESS = ["read", "write"] as const;
export const repositoryAccessSchema = z.enum(REPOSITORY_ACCESS);

/** A repository that a run has beside its first one. */
export const furtherRepositorySchema = z.strictObject({
  repositoryUrl: repositoryUrlSchema,
  /** The branch to start from; default: the repository's HEAD. */
  branch: branchSchema.optional(),
  /** The agent finds it in `../repositories/<name>`; default: the last part of its path. */
  name: repositoryNameSchema.optional(),
  /** `read`: nothing in it can be changed; default `write`. */
  access: repositoryAccessSchema.optional(),
});
export type FurtherRepositoryRequest = z.input<typeof furtherRepositorySchema>;

/** `repositories` of a new run. */
export const furtherRepositoriesSchema = z
  .array(furtherRepositorySchema)
  .max(MAX_FURTHER_REPOSITORIES, `must be at most ${MAX_FURTHER_REPOSITORIES}`);

/** The same, as a run has it. */
export const furtherRepositoryShownSchema = z.object({
  name: z.string(),
  repositoryUrl: z.string(),
  /** The branch that it started from; null for a detached head. */
  branch: z.string().nullable(),
  baseCommit: z.string(),
  access: repositoryAccessSchema,
});
export type FurtherRepository = z.infer<typeof furtherRepositoryShownSchema>;

/** What came of a further repository. */
export const furtherResultSchema = z.object({
  name: z.string(),
  repositoryUrl: z.string(),
  /** The branch in it, or null where the agent changed nothing there, in a replay, and where it could not be made (`problem`). */
  headBranch: z.string().nullable(),
  headCommit: z.string().nullable(),
  baseCommit: z.string(),
  filesChanged: z.number().int(),
  insertions: z.number().int(),
  deletions: z.number().int(),
  /** Why the change is no branch there although it was to be one; null: it is one, or was not to be. */
  problem: z.string().nullable(),
});
export type FurtherResult = z.infer<typeof furtherResultSchema>;

/** Query of what a run changed: in which of its further repositories; left out: in its first one. */
export const changeQuerySchema = z.strictObject({ repository: repositoryNameSchema.optional() });
export type ChangeQuery = z.input<typeof changeQuerySchema>;
