import { z } from "zod";
import { runIdSchema, snapshotIdSchema } from "./ids.ts";
import { IN_MILLISECONDS } from "./milliseconds.ts";

/** Default and longest time of one command, in milliseconds. */
export const DEFAULT_SETUP_TIMEOUT_MS = 600_000;
const MAX_SETUP_TIMEOUT_MS = 24 * 3_600_000;
export const MAX_SETUP_COMMANDS = 20;
/** Longest key of a snapshot, in characters. */
export const MAX_CACHE_KEY_CHARS = 200;

/** Commands that make a workspace ready before its agent begins, in this order (seed 001). */
export const setupSchema = z.strictObject({
  /** Each is given to `/bin/sh -c`. */
  commands: z
    .array(
      z
        .string()
        .trim()
        .min(1, "must name a command")
        .max(10_000)
        .refine((text) => !text.includes("\0"), "must not contain NUL"),
    )
    .min(1, "must name a command")
    .max(MAX_SETUP_COMMANDS),
  /** What they made is kept under this key, and later runs begin with it instead of running them; left out: every run runs them. */
  cacheKey: z
    .string()
    .min(1, "must not be empty: leave it out to keep nothing")
    .max(MAX_CACHE_KEY_CHARS)
    .regex(/^[\x20-\x7e]*$/, "must be printable ASCII characters")
    .optional(),
  /** Of each command, in milliseconds. */
  timeout: z.int().min(1_000).max(MAX_SETUP_TIMEOUT_MS).default(DEFAULT_SETUP_TIMEOUT_MS).describe(IN_MILLISECONDS),
});
export type SetupRequest = z.input<typeof setupSchema>;
/** With every default filled in. */
export type Setup = z.output<typeof setupSchema>;

/** The same, as a run or a repository shows it. */
export const setupShownSchema = z.object({
  commands: z.array(z.string()),
  cacheKey: z.string().nullable(),
  timeout: z.number().int().describe(IN_MILLISECONDS),
});
export type SetupShown = z.infer<typeof setupShownSchema>;

/** The set-up of a run, and what its present attempt has to do with a snapshot. */
export const runSetupSchema = setupShownSchema.extend({
  /** `hit`: it began with this snapshot, instead of running the commands; else it has made it. Null: neither (yet). */
  snapshot: z.object({ id: z.string(), hit: z.boolean() }).nullable(),
});

/** Why a command was ended before it ended by itself; null: it was not. */
const causeSchema = z.enum(["timeout", "output-limit", "out-of-memory"]).nullable();

/** `data` of the events that tell of a run's set-up. */
export const setupEventSchemas = {
  /** `index`: of the command, from 0. */
  "setup.started": z.object({ command: z.string(), index: z.number().int() }),
  "setup.finished": z.object({
    command: z.string(),
    index: z.number().int(),
    passed: z.boolean(),
    /** 128 + n after signal n; null when it was ended from outside. */
    exitCode: z.number().int().nullable(),
    cause: causeSchema,
    /** By the clock of the runner; null: the server was started anew meanwhile. */
    durationMs: z.number().int().nullable(),
    /** The end of what it wrote, stdout and stderr together, at most 16 KiB. */
    output: z.string(),
    truncated: z.boolean(),
  }),
  /** The workspace began with this snapshot, and none of the commands was run. */
  "snapshot.restored": z.object({ snapshotId: z.string(), cacheKey: z.string(), bytes: z.number().int() }),
  /** What the commands made is there for later runs. */
  "snapshot.kept": z.object({ snapshotId: z.string(), cacheKey: z.string(), bytes: z.number().int(), files: z.number().int() }),
};

/** What set-up made, on the disk of one runner. */
export const snapshotSchema = z.object({
  id: snapshotIdSchema,
  /** The root of the repository on the server's machine. */
  repositoryUrl: z.string(),
  cacheKey: z.string(),
  commands: z.array(z.string()),
  sandboxDriver: z.string(),
  /** The runner that has it: no other one finds it. */
  runnerId: z.string(),
  /** The run that made it. */
  runId: runIdSchema,
  /** On the disk, in bytes. */
  bytes: z.number().int(),
  /** Files, links and folders. */
  files: z.number().int(),
  /** Runs that began with it. */
  hits: z.number().int(),
  createdAt: z.iso.datetime(),
  /** When a run last began with it; before that, when it was made. */
  lastUsedAt: z.iso.datetime(),
});
export type Snapshot = z.infer<typeof snapshotSchema>;

/** Query of `GET /v1/snapshots`: newest first. */
export const listSnapshotsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
});
export type ListSnapshotsQuery = z.input<typeof listSnapshotsSchema>;

export const snapshotPageSchema = z.object({
  data: z.array(snapshotSchema),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type SnapshotPage = z.infer<typeof snapshotPageSchema>;
