import { z } from "zod";

/** Largest context, in bytes of its JSON, and how deep it may be nested. */
export const MAX_CONTEXT_BYTES = 262_144;
const MAX_CONTEXT_DEPTH = 64;
export const MAX_FILES = 200;
const MAX_FILE_CHARS = 1_024;

/** What else the agent is to know, as seed 001 has it: any JSON object. */
export const contextSchema = z.record(z.string(), z.unknown()).superRefine((context, check) => {
  const problem = isDeeper(context, MAX_CONTEXT_DEPTH)
    ? `must not be nested deeper than ${MAX_CONTEXT_DEPTH} levels`
    : new TextEncoder().encode(JSON.stringify(context)).byteLength > MAX_CONTEXT_BYTES
      ? `must not be larger than ${MAX_CONTEXT_BYTES} bytes: put what is long into a file of the repository`
      : null;
  if (problem !== null) check.addIssue({ code: "custom", message: problem });
});

/** Files of the repository that the agent is to look at first: paths from its top. */
export const filesSchema = z
  .array(
    z
      .string()
      .min(1)
      .max(MAX_FILE_CHARS)
      .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, "must be one line without control characters")
      .refine(
        (file) => file.split("/").every((part) => part !== "" && part !== "." && part !== ".."),
        "must be a path from the top of the repository, without . and ..",
      ),
  )
  .max(MAX_FILES);

/** Without recursion: what is asked about may be nested a million times. */
function isDeeper(value: unknown, levels: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > levels) return true;
    level = level.flatMap((one) => (typeof one === "object" && one !== null ? Object.values(one) : []));
  }
  return false;
}
