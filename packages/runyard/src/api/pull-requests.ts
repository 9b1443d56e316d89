import { changePullRequestSchema, namePullRequestSchema } from "@runyard/sdk/contract";
import { readJson, readJsonOrNothing } from "./body.ts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { runIdOf } from "./runs.ts";
import { validate } from "./validate.ts";

/** The routes that look at a run's pull request and change how it stands, and stop its agents or allow them again. */
export function pullRequestHandlers(engine: ApiEngine): Record<"changePullRequest" | "stopPullRequest" | "allowPullRequest", ApiHandler> {
  return {
    changePullRequest: async (c) => {
      const [id, change] = [runIdOf(c), validate(changePullRequestSchema, await readJsonOrNothing(c.req.raw))];
      return c.json(await engine.changePullRequest(c.var.principal, id, change));
    },
    stopPullRequest: async (c) =>
      c.json(await engine.stopPullRequest(c.var.principal, validate(namePullRequestSchema, await readJson(c.req.raw)))),
    allowPullRequest: async (c) =>
      c.json(await engine.allowPullRequest(c.var.principal, validate(namePullRequestSchema, await readJson(c.req.raw)))),
  };
}
