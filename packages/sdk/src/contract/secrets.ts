import { z } from "zod";
import { variableNameSchema } from "./environment.ts";
import { EVENT_TYPES } from "./events.ts";
import { notForHeader, secretHeaderSchema, secretHostSchema } from "./header-secrets.ts";
import { agentNameSchema, repositoryIdSchema, secretIdSchema } from "./ids.ts";
import { TOOL_KINDS } from "./permission-policy.ts";
import { RUN_ERROR_TYPES, RUN_PHASES, RUN_STATUSES } from "./status.ts";

/** Fewest characters of a secret: a shorter text would be masked wherever it happens to stand. */
export const MIN_SECRET_CHARS = 6;
/** Most characters of a secret: a variable of a Linux process has room for 128 KiB. */
const MAX_SECRET_CHARS = 32_768;

/** Words of the protocols and of the log: where one of them was masked, nobody could read those any more. */
const OWN_WORDS = [
  ...EVENT_TYPES,
  ...RUN_STATUSES,
  ...RUN_PHASES,
  ...RUN_ERROR_TYPES,
  ...TOOL_KINDS,
  "runyard workspace session jsonrpc method params result message messageId content update title status sessionId toolCallId",
  "sessionUpdate agent_message_chunk agent_thought_chunk user_message_chunk available_commands_update current_mode_update usage_update",
  "tool_call_update rawInput rawOutput locations description command options optionId permission request_permission elicitation/create",
  "outcome selected cancelled stopReason end_turn max_tokens max_turn_requests refusal pending in_progress completed priority medium entries",
  "initialize protocolVersion agentCapabilities agentInfo version loadSession promptCapabilities mcpCapabilities sessionCapabilities",
  "configOptions availableModes currentModeId requestedSchema properties required severity sessionInfo inputTokens outputTokens",
  "reopenings isReopened handedIn sawOutput lastText untold lastError outage before failed answers summary",
  "resource_link exitCode oldText newText conversation messageCount finishedTools waiting prompting initializing questions outcome",
].flatMap((words) => words.split(" "));

export const secretValueSchema = z
  .string()
  .max(MAX_SECRET_CHARS)
  .refine((value) => !value.includes("\0"), "must not contain NUL")
  .refine(
    (value) => value.trim().length >= MIN_SECRET_CHARS,
    `must have at least ${MIN_SECRET_CHARS} characters: a shorter one cannot be masked safely, because it stands in ordinary text too`,
  )
  .refine(
    (value) => value.trim().length < MIN_SECRET_CHARS || !OWN_WORDS.some((word) => word.includes(value.trim())),
    "must not be one of the words that Runyard's own log is made of: it cannot be masked safely",
  );

/** Body of `POST /v1/secrets`. */
export const setSecretSchema = z
  .strictObject({
    /** The name of the variable by which a run gets it; of one for a header only its name. */
    name: variableNameSchema,
    /** It is never given out again. */
    value: secretValueSchema,
    /** With `header`: the gateway puts it into requests to this host, and no sandbox ever has it. */
    host: secretHostSchema.optional(),
    /** With `host`: the header's line, `{value}` standing for the value. */
    header: secretHeaderSchema.optional(),
    /** For runs of this repository only. */
    repository: repositoryIdSchema.optional(),
    /** For runs of this saved agent only: its name, or its id. */
    agent: agentNameSchema.optional(),
  })
  .refine((secret) => secret.repository === undefined || secret.agent === undefined, "give a repository or an agent, not both")
  .refine((secret) => (secret.host === undefined) === (secret.header === undefined), {
    message: "must come with host, and host with it: give both, or neither for a variable",
    path: ["header"],
  })
  .superRefine((secret, context) => {
    const why = secret.header === undefined ? null : notForHeader(secret.value);
    if (why !== null) context.addIssue({ code: "custom", message: why, path: ["value"] });
  });
export type SetSecretRequest = z.input<typeof setSecretSchema>;

/** A secret, without its value. */
export const secretSchema = z.object({
  id: secretIdSchema,
  name: z.string(),
  /** Whose runs may have it: of two with one name, an agent's comes before a repository's, and that before the organization's. */
  scope: z.enum(["organization", "repository", "agent"]),
  /** The id of its repository; null: it is of none. */
  repository: z.string().nullable(),
  /** The name of its saved agent; null: it is of none. */
  agent: z.string().nullable(),
  /** The host whose requests it is put into, with its port where that is not 443; null: runs get it as a variable. */
  host: z.string().nullable(),
  /** The header's line, with `{value}` in the place of the value; null: runs get it as a variable. */
  header: z.string().nullable(),
  /** Which key it is encrypted with; no part of the key. */
  keyId: z.string(),
  /** Whether the server that answers has that key. */
  usable: z.boolean(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export type Secret = z.infer<typeof secretSchema>;

/** Query of `GET /v1/secrets`: newest first. */
export const listSecretsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
});
export type ListSecretsQuery = z.input<typeof listSecretsSchema>;

export const secretPageSchema = z.object({
  data: z.array(secretSchema),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type SecretPage = z.infer<typeof secretPageSchema>;
