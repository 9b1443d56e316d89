import { z } from "zod";
import { credentialIdSchema } from "./ids.ts";
import { MIN_SECRET_CHARS } from "./secrets.ts";

// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const PLAIN = /^[^\u0000-\u001f\u007f]+$/;

/** What the URLs of a credential's repositories begin with: a host, a group, or one repository. */
const credentialUrlSchema = z.string().min(1).max(2_048);

/** Body of `POST /v1/credentials`. */
export const setCredentialSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("token"),
    /** As `https://git.example.com/acme`. */
    url: credentialUrlSchema,
    /** It is never given out again. */
    token: z.string().min(MIN_SECRET_CHARS).max(8_192).regex(PLAIN, "must be one line without control characters"),
    /** The user whose password it is; default: `x-access-token`, which most servers take beside a token. */
    username: z.string().min(1).max(256).regex(PLAIN, "must be one line without control characters").optional(),
  }),
  z.strictObject({
    kind: z.literal("ssh-key"),
    /** As `ssh://git@git.example.com/acme`, or `git@git.example.com:acme`. */
    url: credentialUrlSchema,
    /** In PEM or OpenSSH's form, without a passphrase. It is never given out again. */
    privateKey: z.string().min(1).max(32_768),
    /** Lines of a `known_hosts` file; left out: the host's keys are learned when it is first called. */
    knownHosts: z.string().min(1).max(65_536).optional(),
  }),
  z.strictObject({
    kind: z.literal("github-app"),
    /** As `https://github.com/acme`. */
    url: credentialUrlSchema,
    /** The app's id, or its client id. */
    appId: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "must be the id of a GitHub App, or its client id"),
    /** In PEM, as GitHub gives it: RSA, without a passphrase. It is never given out again. */
    privateKey: z.string().min(1).max(32_768),
  }),
]);
export type SetCredentialRequest = z.input<typeof setCredentialSchema>;

/** A credential, without its value. */
export const credentialSchema = z.object({
  id: credentialIdSchema,
  /** Of several that fit a repository the longest counts. */
  url: z.string(),
  kind: z.enum(["token", "ssh-key", "github-app"]),
  /** Of a token: the user whose password it is. */
  username: z.string().nullable(),
  /** Of a GitHub App: its id, or its client id. */
  appId: z.string().nullable(),
  /** Of a key: what its host must show; null: it was not called yet. */
  knownHosts: z.string().nullable(),
  /** Which key it is encrypted with; no part of the key. */
  keyId: z.string(),
  /** Whether the server that answers has that key. */
  usable: z.boolean(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export type Credential = z.infer<typeof credentialSchema>;

/** Query of `GET /v1/credentials`: newest first. */
export const listCredentialsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
});
export type ListCredentialsQuery = z.input<typeof listCredentialsSchema>;

export const credentialPageSchema = z.object({
  data: z.array(credentialSchema),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type CredentialPage = z.infer<typeof credentialPageSchema>;
