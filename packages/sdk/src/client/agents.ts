import type { ChangeAgentRequest, CreateAgentRequest, ListAgentsQuery, SavedAgent, SavedAgentPage } from "../contract/agents.ts";
import type { RouteName } from "../contract/routes.ts";
import { checked } from "./answers.ts";
import { listFrom } from "./list.ts";
import { pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

/** A page of saved agents to `await`, or all of them from there on to iterate over. */
export type AgentList = Promise<SavedAgentPage> & AsyncIterable<SavedAgent>;

/** Saved agents of the token's organization: `client.agents`. One is named by its name or its id. */
export interface Agents {
  /** Saved agents, newest first. The profiles, which are no saved agents, are in `client.status()`. */
  list(query?: ListAgentsQuery, options?: RequestOptions): AgentList;

  /**
   * Saves an agent. Runs that name it are what it says, where they do not say otherwise themselves. Needs
   * `organization:admin`. It is not tried again after an error, because it may have been saved.
   *
   * @example
   * ```ts
   * await client.agents.create({ name: "reviewer", profile: "opencode", instructions: "You review. You change nothing." });
   * await client.runs.create({ task: "Review the last commit", repositoryUrl: "/home/me/project", agent: { name: "reviewer" } });
   * ```
   */
  create(input: CreateAgentRequest, options?: RequestOptions): Promise<SavedAgent>;

  get(nameOrId: string, options?: RequestOptions): Promise<SavedAgent>;

  /** Changes a saved agent for runs that are created from then on: what is left out stays, null takes it away. Needs `organization:admin`. */
  update(nameOrId: string, change: ChangeAgentRequest, options?: RequestOptions): Promise<SavedAgent>;

  /** Deletes a saved agent; runs that were given it stay as they are. Needs `organization:admin`. */
  delete(nameOrId: string, options?: RequestOptions): Promise<void>;
}

function request(method: ApiRequest["method"], route: RouteName, aid?: string): ApiRequest {
  const path = pathOf(route, aid === undefined ? {} : { aid });
  return { method, path, accept: "application/json", repeatable: method === "GET" || method === "PATCH" };
}

export function createAgents(transport: Transport): Agents {
  return {
    list: ({ limit, cursor } = {}, options) =>
      listFrom<SavedAgentPage, SavedAgent>(transport, "listAgents", { query: { limit: limit as number, cursor }, check: asAgent, options }),
    create: async (input, options) => asAgent(await transport.json({ ...request("POST", "createAgent"), body: input }, options)),
    get: async (nameOrId, options) => asAgent(await transport.json(request("GET", "getAgent", nameOrId), options)),
    update: async (nameOrId, change, options) =>
      asAgent(await transport.json({ ...request("PATCH", "changeAgent", nameOrId), body: change }, options)),
    delete: async (nameOrId, options) => void (await transport.text(request("DELETE", "deleteAgent", nameOrId), options)),
  };
}

function asAgent(value: unknown): SavedAgent {
  return checked(value, { id: "string", name: "string", profile: "string" }) as SavedAgent;
}
