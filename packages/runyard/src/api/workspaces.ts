import { openShellSchema } from "@runyard/sdk/contract";
import { readJsonOrNothing } from "./body.ts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { runIdOf } from "./runs.ts";
import { validate } from "./validate.ts";

type WorkspaceRoute = "openShell";

/** The routes to a run's workspace as it is on the machine of its runner. */
export function workspaceHandlers(engine: ApiEngine): Record<WorkspaceRoute, ApiHandler> {
  return {
    openShell: async (c) => {
      const [id, wish] = [runIdOf(c), validate(openShellSchema, await readJsonOrNothing(c.req.raw))];
      return c.json(await engine.openShell(c.var.principal, id, wish), 201);
    },
  };
}
