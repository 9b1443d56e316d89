import {
  type changeOrganizationSchema,
  type changeRepositorySchema,
  type createRepositorySchema,
  type listRepositoriesSchema,
  type Organization,
  type Repository,
  type RepositoryPage,
  RunyardError,
} from "@runyard/sdk/contract";
import type { z } from "zod";
import {
  changeOrganization,
  changeRepository,
  findOrganization,
  findRepositoryById,
  listRepositories,
  registerRepository,
  type RepositoryRow,
  type StoredOrganization,
  toRepository,
} from "../store/settings.ts";
import { fingerprintOf, KeyFormatError, sealSigningKey, type StoredSigningKey } from "../store/signing-key.ts";
import type { Vault } from "../store/vault.ts";
import { readPage } from "./cursor.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { newId } from "./ids.ts";
import { resolveAgent } from "./saved-agents.ts";
import { CLAIM } from "./wakes.ts";

/** What holds for the runs of an organization and of its repositories. Runs that exist keep what they were created with. */
export function createSettings(
  options: Pick<EngineOptions, "db" | "vault" | "wakes" | "inspectRepository" | "describeAgent" | "agentNames">,
) {
  const { db, vault, wakes, inspectRepository } = options;
  /** Throws RunyardError `unknown_agent` for a name that no run could be given. */
  const requireAgent = async (orgId: string, name: string | null | undefined): Promise<void> => {
    if (typeof name === "string") await resolveAgent(options, orgId, { name });
  };
  const show = ({ signing, ...organization }: StoredOrganization): Organization => ({
    ...organization,
    signingKey: signing && {
      publicKey: signing.publicKey,
      fingerprint: fingerprintOf(signing.publicKey),
      usable: signing.keyId === vault.keyId,
    },
  });
  const changeKnown = async ({ orgId }: Principal, id: string, change: z.output<typeof changeRepositorySchema>): Promise<Repository> =>
    toRepository(known(await changeRepository(db, orgId, id, change), id));
  return {
    listRepositories({ orgId }: Principal, query: z.output<typeof listRepositoriesSchema>): Promise<RepositoryPage> {
      return readPage(query, { read: (page) => listRepositories(db, { orgId, ...page }), show: toRepository, num: ({ num }) => num });
    },

    async createRepository(principal: Principal, input: z.output<typeof createRepositorySchema>): Promise<Repository> {
      const { orgId } = principal;
      const { repositoryUrl, ...change } = input;
      await requireAgent(orgId, change.agent);
      const { root } = await inspectRepository(repositoryUrl, undefined, orgId);
      const registered = await registerRepository(db, { orgId, id: newId("repo"), url: root });
      return Object.keys(change).length === 0 ? toRepository(registered) : changeKnown(principal, registered.id, change);
    },

    async getRepository(principal: Principal, id: string): Promise<Repository> {
      return toRepository(known(await findRepositoryById(db, principal.orgId, id), id));
    },

    async changeRepository(principal: Principal, id: string, change: z.output<typeof changeRepositorySchema>): Promise<Repository> {
      await requireAgent(principal.orgId, change.agent);
      return changeKnown(principal, id, change);
    },

    async getOrganization(principal: Principal): Promise<Organization> {
      return show(await findOrganization(db, principal.orgId));
    },

    async changeOrganization(principal: Principal, change: z.output<typeof changeOrganizationSchema>): Promise<Organization> {
      const { signingKey, ...plain } = change;
      const signing = typeof signingKey === "string" ? sealedKey(vault, principal.orgId, signingKey) : signingKey;
      const changed = await changeOrganization(db, principal.orgId, { ...plain, ...(signing !== undefined && { signing }) });
      // A higher cap may let go what waited for it.
      wakes.notify(CLAIM);
      return show(changed);
    },
  };
}

function sealedKey(vault: Vault, orgId: string, text: string): StoredSigningKey {
  try {
    return sealSigningKey(vault, orgId, text);
  } catch (error) {
    if (!(error instanceof KeyFormatError)) throw error;
    const message = error.message;
    throw new RunyardError("invalid_request", `The signing key ${message}.`, { errors: [{ path: "signingKey", message }] });
  }
}

function known(row: RepositoryRow | undefined, id: string): RepositoryRow {
  if (row !== undefined) return row;
  throw repositoryNotFound(id);
}

export function repositoryNotFound(id: string): RunyardError {
  return new RunyardError("repository_not_found", `There is no repository ${id}. Repositories are listed by GET /v1/repositories.`);
}
