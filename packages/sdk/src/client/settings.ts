import type { RouteName } from "../contract/routes.ts";
import type {
  ChangeOrganizationRequest,
  ChangeRepositoryRequest,
  CreateRepositoryRequest,
  ListRepositoriesQuery,
  Organization,
  Repository,
  RepositoryPage,
} from "../contract/settings.ts";
import { checked } from "./answers.ts";
import { listFrom } from "./list.ts";
import { type PathParams, pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

/** A page of repositories to `await`, or all of them from there on to iterate over. */
export type RepositoryList = Promise<RepositoryPage> & AsyncIterable<Repository>;

/** Repositories of the token's organization: `client.repositories`. */
export interface Repositories {
  /** Repositories, newest first: those that had a run, and those that were made known. */
  list(query?: ListRepositoriesQuery, options?: RequestOptions): RepositoryList;

  /**
   * Makes a repository known before it has a run, with what is to hold for its runs; of one that is known already, what is given is
   * changed, and the rest stays. Needs `organization:admin`.
   */
  create(repository: string | CreateRepositoryRequest, options?: RequestOptions): Promise<Repository>;

  get(id: string, options?: RequestOptions): Promise<Repository>;

  /**
   * Changes what holds for the repository's runs from then on; what is left out stays. Needs `organization:admin`.
   *
   * @example
   * ```ts
   * const { id } = await client.repositories.create("/home/me/project");
   * await client.repositories.update(id, { plan: true, planningStatement: "Every plan names the tests that it adds." });
   * ```
   */
  update(id: string, change: ChangeRepositoryRequest, options?: RequestOptions): Promise<Repository>;
}

/** The token's organization: `client.organization`. */
export interface OrganizationSettings {
  get(options?: RequestOptions): Promise<Organization>;

  /** Changes what holds for the organization's runs from then on; what is left out stays. Needs `organization:admin`. */
  update(change: ChangeOrganizationRequest, options?: RequestOptions): Promise<Organization>;
}

function request(method: ApiRequest["method"], route: RouteName, params: PathParams = {}): ApiRequest {
  return { method, path: pathOf(route, params), accept: "application/json", repeatable: true };
}

export function createRepositories(transport: Transport): Repositories {
  return {
    list: ({ limit, cursor } = {}, options) => {
      const query = { limit: limit as number, cursor };
      return listFrom<RepositoryPage, Repository>(transport, "listRepositories", { query, check: asRepository, options });
    },
    create: async (repository, options) => {
      const body = typeof repository === "string" ? { repositoryUrl: repository } : repository;
      return asRepository(await transport.json({ ...request("POST", "createRepository"), body }, options));
    },
    get: async (id, options) => asRepository(await transport.json(request("GET", "getRepository", { rid: id }), options)),
    update: async (id, change, options) =>
      asRepository(await transport.json({ ...request("PATCH", "changeRepository", { rid: id }), body: change }, options)),
  };
}

export function createOrganization(transport: Transport): OrganizationSettings {
  return {
    get: async (options) => asOrganization(await transport.json(request("GET", "getOrganization"), options)),
    update: async (change, options) =>
      asOrganization(await transport.json({ ...request("PATCH", "changeOrganization"), body: change }, options)),
  };
}

function asRepository(value: unknown): Repository {
  return checked(value, { id: "string", repositoryUrl: "string" }) as Repository;
}

function asOrganization(value: unknown): Organization {
  return checked(value, { id: "string", planFirst: "boolean" }) as Organization;
}
