import {
  changeOrganizationSchema,
  changeRepositorySchema,
  createRepositorySchema,
  listRepositoriesSchema,
  repositoryIdSchema,
  RunyardError,
} from "@runyard/sdk/contract";
import { readJson } from "./body.ts";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { queryOf, validate } from "./validate.ts";

type SettingsRoute =
  | "listRepositories"
  | "createRepository"
  | "getRepository"
  | "changeRepository"
  | "getOrganization"
  | "changeOrganization";

/** The routes that read and change what holds for the runs of an organization and of its repositories. */
export function settingsHandlers(engine: ApiEngine): Record<SettingsRoute, ApiHandler> {
  return {
    listRepositories: async (c) =>
      c.json(await engine.listRepositories(c.var.principal, validate(listRepositoriesSchema, queryOf(c.req.url)))),
    createRepository: async (c) =>
      c.json(await engine.createRepository(c.var.principal, validate(createRepositorySchema, await readJson(c.req.raw))), 201),
    getRepository: async (c) => c.json(await engine.getRepository(c.var.principal, repositoryIdOf(c))),
    changeRepository: async (c) => {
      const id = repositoryIdOf(c);
      const change = validate(changeRepositorySchema, await readJson(c.req.raw));
      return c.json(await engine.changeRepository(c.var.principal, id, change));
    },
    getOrganization: async (c) => c.json(await engine.getOrganization(c.var.principal)),
    changeOrganization: async (c) =>
      c.json(await engine.changeOrganization(c.var.principal, validate(changeOrganizationSchema, await readJson(c.req.raw)))),
  };
}

/** A word that is no id names no repository. */
function repositoryIdOf(c: ApiContext): string {
  const parsed = repositoryIdSchema.safeParse(c.req.param("rid"));
  if (!parsed.success) throw new RunyardError("repository_not_found", "There is no such repository: an id looks like repo_01k….");
  return parsed.data;
}
