import { z } from "zod";

/** What a run may do to its workspace. */
export const WORKSPACE_PERMISSIONS = ["read", "write", "execute"] as const;
/** What may come of it for the repository. */
export const REPOSITORY_PERMISSIONS = ["repository:read", "repository:write", "pull_request:create", "pull_request:review"] as const;

/** Both vocabularies of seed 001. */
export const RUN_PERMISSIONS = [...WORKSPACE_PERMISSIONS, ...REPOSITORY_PERMISSIONS] as const;
export type RunPermission = (typeof RUN_PERMISSIONS)[number];

const isOfWorkspace = (permission: RunPermission): boolean => (WORKSPACE_PERMISSIONS as readonly string[]).includes(permission);

/**
 * What a run is granted: of each of the two groups what is named, or all of a group of which nothing is named. Without
 * `write` its workspace is read-only, without `execute` commands are refused, without `repository:write` no branch is made, without
 * `pull_request:create` no pull request, and without `pull_request:review` no review.
 */
export const runPermissionsSchema = z
  .array(z.enum(RUN_PERMISSIONS))
  .min(1, "name what is granted; left out, everything is")
  .max(RUN_PERMISSIONS.length)
  .refine((asked) => !asked.some(isOfWorkspace) || asked.includes("read"), "a run that may not `read` can do nothing: name it too");
