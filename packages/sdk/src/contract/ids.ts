import { z } from "zod";

/** A ULID in lower case: sorts by time of creation, safe in paths and in git branch names. */
const ULID = "[0-7][0-9a-hjkmnp-tv-z]{25}";

/** `run_` and a ULID. */
export const runIdSchema = z.string().regex(new RegExp(`^run_${ULID}$`), "must look like run_01k…");
/** `sandbox_` and the ULID of the run whose sandbox it is. */
export const sandboxIdSchema = z.string().regex(new RegExp(`^sandbox_${ULID}$`), "must look like sandbox_01k…");
/** `repo_` and a ULID. */
export const repositoryIdSchema = z.string().regex(new RegExp(`^repo_${ULID}$`), "must look like repo_01k…");
/** `perm_<attempt>_<byte offset of the request's line>`: agents reuse their own request ids. */
export const permissionIdSchema = z.string().regex(/^perm_\d{1,9}_\d{1,15}$/, "must look like perm_1_2048");
/** `ask_<attempt>_<byte offset of the request's line>`. */
export const questionIdSchema = z.string().regex(/^ask_\d{1,9}_\d{1,15}$/, "must look like ask_1_2048");
/** `agent_` and a ULID: a saved agent. */
export const savedAgentIdSchema = z.string().regex(new RegExp(`^agent_${ULID}$`), "must look like agent_01k…");
/** `secret_` and a ULID. */
export const secretIdSchema = z.string().regex(new RegExp(`^secret_${ULID}$`), "must look like secret_01k…");
/** `credential_` and a ULID: what servers of repositories are shown. */
export const credentialIdSchema = z.string().regex(new RegExp(`^credential_${ULID}$`), "must look like credential_01k…");
/** `snap_` and a ULID: what set-up made. */
export const snapshotIdSchema = z.string().regex(new RegExp(`^snap_${ULID}$`), "must look like snap_01k…");
/** The name of a saved agent. No id looks like one. */
export const agentNameSchema = z
  .string()
  .max(64)
  .regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, "must be small letters and digits, with single - between them");
