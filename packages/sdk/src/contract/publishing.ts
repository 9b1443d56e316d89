import { z } from "zod";
import { isOneLine } from "./one-line.ts";

/** Most patterns of a list of protected paths, and the longest, in characters. */
const MAX_PROTECTED_PATHS = 200;
const MAX_PATTERN_CHARS = 500;
/** How many protected files a run names, of those that it touches. */
export const MAX_PROTECTED_FILES = 100;

const identityText = (max: number): z.ZodString =>
  z
    .string()
    .trim()
    .min(1, "must not be empty")
    .max(max)
    .refine((text) => isOneLine(text) && !/[<>]/.test(text), "must be one line, without < and >");

/** Who commits are by that Runyard makes. */
export const commitAuthorSchema = z.strictObject({
  name: identityText(200).refine((text) => /[^.,:;'"\\\s]/.test(text), "must have a letter or a digit: git leaves out the rest"),
  email: identityText(254).refine((text) => !/\s/.test(text), "must have no spaces"),
});
export type CommitAuthor = z.infer<typeof commitAuthorSchema>;

/**
 * What becomes of a result that touches a file: it waits for a person (`approve`), it is not published (`refuse`), or it is
 * published like any other (`allow`).
 */
export const PATH_POLICIES = ["approve", "refuse", "allow"] as const;
export type PathPolicy = (typeof PATH_POLICIES)[number];

export const protectedPathSchema = z.strictObject({
  /**
   * Which files, from the top of the repository: `*` and `?` within a name, `**` through folders, `{a,b}` either. Capital
   * and small letters are the same.
   */
  pattern: z
    .string()
    .min(1, "must not be empty")
    .max(MAX_PATTERN_CHARS)
    .refine(isOneLine, "must be one line")
    .refine(
      (text) => !/^\.{0,2}\//.test(text),
      "must begin at the top of the repository, without a slash: deploy/** or **/package-lock.json",
    ),
  policy: z.enum(PATH_POLICIES),
});
export type ProtectedPath = z.infer<typeof protectedPathSchema>;

export const protectedPathsSchema = z.array(protectedPathSchema).max(MAX_PROTECTED_PATHS);

/** A file that a result touches, and the pattern by which it is protected. */
export const protectedFileSchema = z.object({ path: z.string(), pattern: z.string(), policy: z.enum(["approve", "refuse"]) });
export type ProtectedFile = z.infer<typeof protectedFileSchema>;

/** A private key in the format of OpenSSH: Ed25519, without a passphrase. */
export const signingKeySchema = z.string().min(1).max(10_000);

/** What is told of the key that signs commits. */
export const signingKeyShownSchema = z.object({
  /** As `allowed_signers` and hosts of repositories take it: `ssh-ed25519 AAAA…`. */
  publicKey: z.string(),
  /** Of the public key, as `ssh-keygen -l` shows it: `SHA256:…`. */
  fingerprint: z.string(),
  /** Whether this server can read it: it has the key for secrets with which it was stored. */
  usable: z.boolean(),
});

export const publishingEventSchemas = {
  /** The turn's work is done, and its result is not published before somebody decides. `title`: why, in words. */
  "result.held": z.object({
    approvalId: z.string(),
    title: z.string(),
    commit: z.string(),
    /** At most 100 of them. */
    files: z.array(protectedFileSchema),
    /** How many there are. */
    count: z.number().int(),
  }),
};

/** Of a change of an organization or a repository. */
export const publishingOfRuns = {
  /** Who the commits of runs are by; null: as the more general setting has it, or Runyard's bot. */
  commitAuthor: commitAuthorSchema.nullable().optional(),
  /** Files that are protected, in place of those that were named; null: none but those that always are. */
  protectedPaths: protectedPathsSchema.nullable().optional(),
};

export const publishingShown = {
  /** Null: none of its own. */
  commitAuthor: commitAuthorSchema.nullable(),
  protectedPaths: protectedPathsSchema,
};
