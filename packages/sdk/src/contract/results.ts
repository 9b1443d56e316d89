import { z } from "zod";

/** One entry of a run's log for people: what was said and done, without the pieces it came in. */
export const logEntrySchema = z.object({
  /** The event that it comes from. */
  seq: z.number().int(),
  at: z.iso.datetime(),
  level: z.enum(["debug", "info", "warning", "error"]),
  source: z.enum(["user", "agent", "tool", "runyard"]),
  message: z.string(),
});
export type LogEntry = z.infer<typeof logEntrySchema>;

/** Query of `GET /v1/agent-runs/{id}/logs`. */
export const listLogsSchema = z.strictObject({
  /** Entries of events behind this `seq`. */
  after: z.coerce.number().int().min(0).max(2_147_483_647).default(0),
  limit: z.coerce.number().int().min(1).max(1_000).default(200),
});
export type ListLogsQuery = z.input<typeof listLogsSchema>;

/** Answer of `GET /v1/agent-runs/{id}/logs`; `next_after` continues it. There may be more than a page has, even when the page is empty. */
export const logPageSchema = z.object({ data: z.array(logEntrySchema), has_more: z.boolean(), next_after: z.number().int() });
export type LogPage = z.infer<typeof logPageSchema>;

/** A file that a run changed. */
export const changedFileSchema = z.object({
  path: z.string(),
  /** The path before, for one that was renamed. */
  previousPath: z.string().nullable(),
  status: z.enum(["added", "modified", "deleted", "renamed"]),
  /** Lines; null for a binary file. */
  insertions: z.number().int().nullable(),
  deletions: z.number().int().nullable(),
  /** Bytes after the change; null for a deleted file. */
  size: z.number().int().nullable(),
});
export type ChangedFile = z.infer<typeof changedFileSchema>;

/** Answer of `GET /v1/agent-runs/{id}/files`. */
export const fileListSchema = z.object({ data: z.array(changedFileSchema) });
export type FileList = z.infer<typeof fileListSchema>;

/** Answer of `GET /v1/agent-runs/{id}/diff`: the changed files, each with its hunks as text (null for a binary file). */
export const runDiffSchema = z.object({
  baseCommit: z.string(),
  headCommit: z.string().nullable(),
  files: z.array(changedFileSchema.extend({ hunks: z.string().nullable() })),
  /** The change was larger than the server shows; `/patch` has all of it. */
  truncated: z.boolean(),
});
export type RunDiff = z.infer<typeof runDiffSchema>;
