import { listSecretsSchema, RunyardError, secretIdSchema, setSecretSchema } from "@runyard/sdk/contract";
import { readJson } from "./body.ts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { queryOf, validate } from "./validate.ts";

/** The routes of secrets. None of them answers with a value. */
export function secretHandlers(engine: ApiEngine): Record<"listSecrets" | "setSecret" | "deleteSecret", ApiHandler> {
  return {
    listSecrets: async (c) => c.json(await engine.listSecrets(c.var.principal, validate(listSecretsSchema, queryOf(c.req.url)))),
    setSecret: async (c) => c.json(await engine.setSecret(c.var.principal, validate(setSecretSchema, await readJson(c.req.raw)))),
    deleteSecret: async (c) => {
      const parsed = secretIdSchema.safeParse(c.req.param("sid"));
      if (!parsed.success) throw new RunyardError("secret_not_found", "There is no such secret: an id looks like secret_01k….");
      await engine.deleteSecret(c.var.principal, parsed.data);
      return c.body(null, 204);
    },
  };
}
