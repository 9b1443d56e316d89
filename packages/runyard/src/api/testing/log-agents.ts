import { RunyardError, type SavedAgent, withoutSecrets } from "@runyard/sdk/contract";
import { type AgentDefinition, changeAgent, PLAIN_AGENT } from "../../core/saved-agent.ts";
import type { ApiEngine } from "../engine.ts";

type SavedAgents = Pick<ApiEngine, "listAgents" | "createAgent" | "getAgent" | "changeAgent" | "deleteAgent">;

const AT = "2026-11-20T10:00:00.000Z";

interface Entry {
  readonly orgId: string;
  readonly id: string;
  name: string;
  definition: AgentDefinition;
  dailyCapUsd: number | null;
}

/** Saved agents in memory, beside the runs of `createLogEngine`. */
export function createLogAgents(newAgentId: () => string): SavedAgents {
  const entries = new Set<Entry>();
  const find = (orgId: string, word: string): Entry => {
    const entry = [...entries].find((one) => one.orgId === orgId && (one.id === word || one.name === word));
    if (entry === undefined) throw new RunyardError("agent_not_found", `There is no saved agent ${word}.`);
    return entry;
  };
  const show = ({ id, name, definition, dailyCapUsd }: Entry): SavedAgent => ({
    id,
    name,
    ...definition,
    login: definition.login ?? "gateway",
    mcpServers: definition.mcpServers.map(withoutSecrets),
    environment: { ...definition.environment },
    secrets: [...(definition.secrets ?? [])],
    dailyCapUsd,
    spentTodayUsd: 0,
    createdAt: AT,
    updatedAt: AT,
  });
  return {
    listAgents: async ({ orgId }) => {
      const mine = [...entries].filter((entry) => entry.orgId === orgId).toReversed();
      return { data: mine.map(show), has_more: false, next_cursor: null };
    },
    createAgent: async ({ orgId }, { name, dailyCapUsd = null, ...input }) => {
      const entry = { orgId, id: newAgentId(), name, definition: changeAgent(PLAIN_AGENT, input), dailyCapUsd };
      entries.add(entry);
      return show(entry);
    },
    getAgent: async ({ orgId }, word) => show(find(orgId, word)),
    changeAgent: async ({ orgId }, word, { name, dailyCapUsd, ...change }) => {
      const entry = find(orgId, word);
      entry.name = name ?? entry.name;
      if (dailyCapUsd !== undefined) entry.dailyCapUsd = dailyCapUsd;
      entry.definition = changeAgent(entry.definition, change);
      return show(entry);
    },
    deleteAgent: async ({ orgId }, word) => void entries.delete(find(orgId, word)),
  };
}
