import { changePullRequestSchema } from "@runyard/sdk/contract";
import { readJsonOrNothing } from "./body.ts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { runIdOf } from "./runs.ts";
import { validate } from "./validate.ts";

/** The route that looks at a run's pull request and changes how it stands. */
export function pullRequestHandlers(engine: ApiEngine): Record<"changePullRequest", ApiHandler> {
  return {
    changePullRequest: async (c) => {
      const [id, change] = [runIdOf(c), validate(changePullRequestSchema, await readJsonOrNothing(c.req.raw))];
      return c.json(await engine.changePullRequest(c.var.principal, id, change));
    },
  };
}
