import { z } from "zod";
import { verifyCommandShownSchema, verifySchema } from "./attempts.ts";
import { agentNameSchema, savedAgentIdSchema } from "./ids.ts";

/** A branch of a repository, by its short name. */
export const branchSchema = z
  .string()
  .min(1)
  .max(250)
  .refine((name) => !name.includes("\0"), "must not contain NUL");

/** Of a change of a repository: what its runs have that do not say it themselves. */
export const runDefaultsOfRepository = {
  /** The branch that they start from, and that their pull requests go to; null: the repository's HEAD. */
  branch: branchSchema.nullable().optional(),
  /** Commands that must succeed before anything is published, in place of all that held before; null or none of them: none. */
  verify: verifySchema.nullable().optional(),
  /** The agent that they get: a profile's name, or a saved agent's name or id; null: the profile `builtin`. */
  agent: z
    .union([agentNameSchema, savedAgentIdSchema], { error: "must be the name of a profile or of a saved agent, or the id of a saved one" })
    .nullable()
    .optional(),
};

export const runDefaultsShown = {
  /** Null: nothing of its own, here and below. */
  branch: z.string().nullable(),
  verify: z.array(verifyCommandShownSchema).nullable(),
  /** As it was given: an id stays with its agent, a name with whoever has it. */
  agent: z.string().nullable(),
};

const sourceSchema = z.enum(["run", "repository"]);

/** Who gave each of these to a run; not there: nobody, so it is Runyard's own default. */
export const givenFromSchema = z.object({
  branch: sourceSchema.optional(),
  verify: sourceSchema.optional(),
  agent: sourceSchema.optional(),
});
export type GivenFrom = z.infer<typeof givenFromSchema>;
