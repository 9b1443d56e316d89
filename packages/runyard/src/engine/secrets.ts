import { type listSecretsSchema, RunyardError, type Secret, type SecretPage, type setSecretSchema } from "@runyard/sdk/contract";
import type { z } from "zod";
import { whyNotGiven } from "../core/header-secrets.ts";
import { findSavedAgent } from "../store/saved-agents.ts";
import { deleteSecret, findSecrets, listSecrets, placeOf, type SecretOwner, type SecretRow, setSecret } from "../store/secrets.ts";
import { findRepositoryById } from "../store/settings.ts";
import { readPage } from "./cursor.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { newId } from "./ids.ts";
import { agentNotFound } from "./saved-agents.ts";
import { repositoryNotFound } from "./settings.ts";

/** The secrets of an organization: their values go in, and come out in sandboxes only. */
export function createSecrets({ db, vault }: Pick<EngineOptions, "db" | "vault">) {
  const show = (row: SecretRow): Secret => ({
    id: row.id,
    name: row.name,
    scope: row.repository_id !== null ? "repository" : row.agent_id !== null ? "agent" : "organization",
    repository: row.repository_id,
    agent: row.agent,
    host: row.host,
    header: row.header,
    keyId: row.key_id,
    usable: row.key_id === vault.keyId,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  });

  async function ownerOf(orgId: string, { repository, agent }: z.output<typeof setSecretSchema>): Promise<SecretOwner> {
    if (repository !== undefined && (await findRepositoryById(db, orgId, repository)) === undefined) throw repositoryNotFound(repository);
    const saved = agent === undefined ? undefined : await findSavedAgent(db, orgId, agent);
    if (agent !== undefined && saved === undefined) throw agentNotFound(agent);
    return { repositoryId: repository ?? null, agentId: saved?.id ?? null };
  }

  return {
    listSecrets({ orgId }: Principal, query: z.output<typeof listSecretsSchema>): Promise<SecretPage> {
      return readPage(query, { read: (page) => listSecrets(db, { orgId, ...page }), show, num: ({ num }) => num });
    },

    async setSecret({ orgId }: Principal, input: z.output<typeof setSecretSchema>): Promise<Secret> {
      const owner = await ownerOf(orgId, input);
      const { name, value, host, header } = input;
      const place = host === undefined || header === undefined ? null : { host, header };
      return show(await setSecret(db, vault, { orgId, id: newId("secret"), name, value, place, owner }));
    },

    async deleteSecret(principal: Principal, id: string): Promise<void> {
      if (!(await deleteSecret(db, principal.orgId, id)))
        throw new RunyardError("secret_not_found", `There is no secret ${id}. Secrets are listed by GET /v1/secrets.`);
    },
  };
}

/**
 * Throws `unknown_secret` where a run is to be given a secret that there is none of for it, and what core/header-secrets.ts
 * says where it cannot be given them.
 */
export async function requireSecrets(
  { db }: Pick<EngineOptions, "db">,
  { isIsolated, egressAllowed, ...wanted }: Parameters<typeof findSecrets>[1] & Parameters<typeof whyNotGiven>[1],
): Promise<void> {
  if (wanted.names.length === 0) return;
  const found = await findSecrets(db, wanted);
  const missing = wanted.names.filter((name) => !found.some((row) => row.name === name));
  const placed = found.map(({ name, ...row }) => ({ name, place: placeOf(row) }));
  const why = whyNotGiven(placed, { isIsolated, egressAllowed });
  if (why !== null) throw new RunyardError(why.code, why.message);
  if (missing.length === 0) return;
  const which = missing.length === 1 ? `no secret ${missing[0]}` : `no secrets ${missing.join(", ")}`;
  throw new RunyardError(
    "unknown_secret",
    `There is ${which} for runs of this repository and agent. Store it (runyard secrets set ${missing[0]}), or leave it out.`,
  );
}
