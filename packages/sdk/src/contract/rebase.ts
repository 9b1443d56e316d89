import { z } from "zod";

/**
 * What came of bringing the base branch into a run's branch: it was `merged`; what the run had was behind it and goes on from it
 * (`forwarded`); there was `nothing` to bring in; or files conflict, and the agent resolves them (`conflicts`).
 */
export const BASE_OUTCOMES = ["merged", "forwarded", "nothing", "conflicts"] as const;
export type BaseOutcome = (typeof BASE_OUTCOMES)[number];

export const rebaseEventSchemas = {
  /** The base branch was brought in, or files of it conflict with the run's. */
  "base.updated": z.object({
    /** The base branch, and the commit that it was at. */
    branch: z.string(),
    commit: z.string(),
    /** The commit of it that the run went on from until now. */
    before: z.string(),
    outcome: z.enum(BASE_OUTCOMES),
    /** The commit that the workspace goes on from; null: that of before. */
    head: z.string().nullable(),
    /** Files that conflict. */
    conflicts: z.array(z.string()),
  }),
};

const MAX_NAMED_FILES = 10;

/** Whether and how the base branch was brought in, for people. */
export function baseUpdatedWords({ branch, commit, outcome, conflicts }: z.infer<(typeof rebaseEventSchemas)["base.updated"]>): string {
  const at = `${branch} (${commit.slice(0, 10)})`;
  if (outcome === "nothing") return `nothing to bring in: ${at} is in already`;
  if (outcome === "forwarded") return `went on to ${at}`;
  if (outcome === "merged") return `merged ${at}, without conflicts`;
  const more = conflicts.length - MAX_NAMED_FILES;
  const files = `${conflicts.slice(0, MAX_NAMED_FILES).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  return `merges ${at}: the agent resolves conflicts in ${files}`;
}
