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
  toRepository,
} from "../store/settings.ts";
import { readPage } from "./cursor.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { newId } from "./ids.ts";
import { CLAIM } from "./wakes.ts";

/** What holds for the runs of an organization and of its repositories. Runs that exist keep what they were created with. */
export function createSettings({ db, wakes, inspectRepository }: Pick<EngineOptions, "db" | "wakes" | "inspectRepository">) {
  return {
    listRepositories({ orgId }: Principal, query: z.output<typeof listRepositoriesSchema>): Promise<RepositoryPage> {
      return readPage(query, { read: (page) => listRepositories(db, { orgId, ...page }), show: toRepository, num: ({ num }) => num });
    },

    async createRepository(principal: Principal, input: z.output<typeof createRepositorySchema>): Promise<Repository> {
      const { root } = await inspectRepository(input.repositoryUrl, undefined, principal.orgId);
      return toRepository(await registerRepository(db, { orgId: principal.orgId, id: newId("repo"), url: root }));
    },

    async getRepository(principal: Principal, id: string): Promise<Repository> {
      return toRepository(known(await findRepositoryById(db, principal.orgId, id), id));
    },

    async changeRepository(principal: Principal, id: string, change: z.output<typeof changeRepositorySchema>): Promise<Repository> {
      return toRepository(known(await changeRepository(db, principal.orgId, id, change), id));
    },

    getOrganization(principal: Principal): Promise<Organization> {
      return findOrganization(db, principal.orgId);
    },

    async changeOrganization(principal: Principal, change: z.output<typeof changeOrganizationSchema>): Promise<Organization> {
      const changed = await changeOrganization(db, principal.orgId, change);
      // A higher cap may let go what waited for it.
      wakes.notify(CLAIM);
      return changed;
    },
  };
}

function known(row: RepositoryRow | undefined, id: string): RepositoryRow {
  if (row !== undefined) return row;
  throw repositoryNotFound(id);
}

export function repositoryNotFound(id: string): RunyardError {
  return new RunyardError("repository_not_found", `There is no repository ${id}. Repositories are listed by GET /v1/repositories.`);
}
