import {
  type Credential,
  type CredentialPage,
  type listCredentialsSchema,
  RunyardError,
  type setCredentialSchema,
} from "@runyard/sdk/contract";
import type { z } from "zod";
import { githubServerOf } from "../core/github-place.ts";
import { type GithubAppCredential, type RemoteCredential, whyNoKnownHosts, whyNoPrivateKey } from "../core/remote-credential.ts";
import { isHostAllowed, whyNotCalled } from "../core/repository-hosts.ts";
import { longestPrefix, parseRemoteUrl, type RemoteUrl } from "../core/repository-url.ts";
import type { Database } from "../store/database.ts";
import {
  allCredentials,
  type CredentialRow,
  deleteCredential,
  listCredentials,
  openCredential,
  setCredential,
} from "../store/credentials.ts";
import { type Vault, VaultError } from "../store/vault.ts";
import { readPage } from "./cursor.ts";
import type { EngineOptions } from "./engine.ts";
import { whyNoAppKey } from "./github-app-key.ts";
import type { Principal } from "./identity.ts";
import { newId } from "./ids.ts";

/** What most servers take beside a token, whoever it belongs to. */
export const USUAL_USERNAME = "x-access-token";

/** The credentials of an organization: their values go in, and come out for the servers of their repositories only. */
export function createCredentials(options: Pick<EngineOptions, "db" | "vault" | "repositoryHosts" | "githubHosts">) {
  const { db, vault } = options;
  const show = (row: CredentialRow): Credential => ({
    id: row.id,
    url: row.url,
    kind: row.kind,
    username: row.kind === "github-app" ? null : row.username,
    appId: row.kind === "github-app" ? row.username : null,
    knownHosts: row.known_hosts,
    keyId: row.key_id,
    usable: row.key_id === vault.keyId,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  });

  return {
    listCredentials({ orgId }: Principal, query: z.output<typeof listCredentialsSchema>): Promise<CredentialPage> {
      return readPage(query, { read: (page) => listCredentials(db, { orgId, ...page }), show, num: ({ num }) => num });
    },

    async setCredential({ orgId }: Principal, input: z.output<typeof setCredentialSchema>): Promise<Credential> {
      const url = requirePrefix(input, options);
      const what = { orgId, id: newId("credential"), url: url.href };
      if (input.kind === "token") {
        const { kind, token: value, username = USUAL_USERNAME } = input;
        return show(await setCredential(db, vault, { ...what, kind, value, username, knownHosts: null }));
      }
      if (input.kind === "github-app") {
        const { kind, privateKey: value, appId: username } = input;
        refuse("privateKey", whyNoAppKey(value));
        return show(await setCredential(db, vault, { ...what, kind, value, username, knownHosts: null }));
      }
      const { kind, privateKey: value, knownHosts = null } = input;
      refuse("privateKey", whyNoPrivateKey(value));
      if (knownHosts !== null) refuse("knownHosts", whyNoKnownHosts(knownHosts));
      return show(await setCredential(db, vault, { ...what, kind, value, username: null, knownHosts }));
    },

    async deleteCredential(principal: Principal, id: string): Promise<void> {
      if (!(await deleteCredential(db, principal.orgId, id)))
        throw new RunyardError("credential_not_found", `There is no credential ${id}. Credentials are listed by GET /v1/credentials.`);
    },
  };
}

/** The URL that repositories of a credential begin with. Throws `invalid_request`. */
function requirePrefix(
  { url: text, kind }: z.output<typeof setCredentialSchema>,
  { repositoryHosts, githubHosts }: Pick<EngineOptions, "repositoryHosts" | "githubHosts">,
): RemoteUrl {
  const url = parseRemoteUrl(text, { isPrefix: true });
  if (typeof url === "string") throw invalid("url", url);
  refuse("url", whyNotCalled(repositoryHosts, url));
  const fits = (url.protocol === "ssh") === (kind === "ssh-key");
  refuse("url", fits ? null : "A token goes with an https:// URL, as a GitHub App does, and a key with an ssh:// URL (or user@host:path)");
  const isAtGithub = kind !== "github-app" || githubServerOf(url, (at) => isHostAllowed(githubHosts, at)) !== null;
  refuse(
    "url",
    isAtGithub ? null : `${url.host} is no GitHub server that this server knows of: where it is one, start it with RUNYARD_GITHUB_HOSTS`,
  );
  return url;
}

function refuse(path: string, why: string | null): void {
  if (why !== null) throw invalid(path, why);
}

function invalid(path: string, message: string): RunyardError {
  return new RunyardError("invalid_request", `${message}.`, { errors: [{ path, message }] });
}

/**
 * What is stored for a repository: of the organization's credentials the one with the longest URL that the repository's begins
 * with; null: nothing. Throws RunyardError `repository_not_usable` where it cannot be read.
 */
export async function credentialFor(
  { db, vault }: { readonly db: Database; readonly vault: Vault },
  orgId: string,
  url: RemoteUrl,
): Promise<RemoteCredential | GithubAppCredential | null> {
  const row = longestPrefix(await allCredentials(db, orgId), url);
  if (row === null) return null;
  try {
    const value = openCredential(vault, row);
    if (row.kind === "token") return { kind: "token", id: row.id, username: row.username ?? USUAL_USERNAME, token: value };
    if (row.kind === "github-app") return { kind: "github-app", id: row.id, appId: row.username ?? "", privateKey: value };
    return { kind: "ssh-key", id: row.id, privateKey: value, knownHosts: row.known_hosts };
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    throw new RunyardError("repository_not_usable", `The credential that is stored for ${row.url} cannot be read: ${error.message}`, {
      cause: error,
    });
  }
}
