import {
  agentNameSchema,
  changeAgentSchema,
  createAgentSchema,
  listAgentsSchema,
  ROUTES,
  RunyardError,
  savedAgentIdSchema,
} from "@runyard/sdk/contract";
import { readJson } from "./body.ts";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { queryOf, validate } from "./validate.ts";

type AgentRoute = "listAgents" | "createAgent" | "getAgent" | "changeAgent" | "deleteAgent";

/** The routes of saved agents. */
export function agentHandlers(engine: ApiEngine): Record<AgentRoute, ApiHandler> {
  return {
    listAgents: async (c) => c.json(await engine.listAgents(c.var.principal, validate(listAgentsSchema, queryOf(c.req.url)))),
    createAgent: async (c) => {
      const agent = await engine.createAgent(c.var.principal, validate(createAgentSchema, await readJson(c.req.raw)));
      return c.json(agent, 201, { Location: ROUTES.getAgent.path.replace("{aid}", agent.id) });
    },
    getAgent: async (c) => c.json(await engine.getAgent(c.var.principal, agentOf(c))),
    changeAgent: async (c) => {
      const agent = agentOf(c);
      return c.json(await engine.changeAgent(c.var.principal, agent, validate(changeAgentSchema, await readJson(c.req.raw))));
    },
    deleteAgent: async (c) => {
      await engine.deleteAgent(c.var.principal, agentOf(c));
      return c.body(null, 204);
    },
  };
}

/** The id or the name in the path. A word that is neither names no agent. */
function agentOf(c: ApiContext): string {
  const word = c.req.param("aid") ?? "";
  if (savedAgentIdSchema.safeParse(word).success || agentNameSchema.safeParse(word).success) return word;
  throw new RunyardError("agent_not_found", "There is no such saved agent: give its name, or its id, which looks like agent_01k….");
}
