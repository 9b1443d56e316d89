import { credentialIdSchema, listCredentialsSchema, RunyardError, setCredentialSchema } from "@runyard/sdk/contract";
import { readJson } from "./body.ts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { queryOf, validate } from "./validate.ts";

/** The routes of credentials. None of them answers with a value. */
export function credentialHandlers(engine: ApiEngine): Record<"listCredentials" | "setCredential" | "deleteCredential", ApiHandler> {
  return {
    listCredentials: async (c) =>
      c.json(await engine.listCredentials(c.var.principal, validate(listCredentialsSchema, queryOf(c.req.url)))),
    setCredential: async (c) =>
      c.json(await engine.setCredential(c.var.principal, validate(setCredentialSchema, await readJson(c.req.raw)))),
    deleteCredential: async (c) => {
      const parsed = credentialIdSchema.safeParse(c.req.param("cid"));
      if (!parsed.success) throw new RunyardError("credential_not_found", "There is no such credential: an id looks like credential_01k….");
      await engine.deleteCredential(c.var.principal, parsed.data);
      return c.body(null, 204);
    },
  };
}
