import {
  type changeAgentSchema,
  type createAgentSchema,
  type listAgentsSchema,
  RunyardError,
  type SavedAgent,
  type SavedAgentPage,
} from "@runyard/sdk/contract";
import type { z } from "zod";
import { type AgentChange, type AgentDefinition, changeAgent, PLAIN_AGENT } from "../core/saved-agent.ts";
import { nanoUsdOf } from "../core/usage.ts";
import {
  changeSavedAgent,
  deleteSavedAgent,
  findSavedAgent,
  insertSavedAgent,
  listSavedAgents,
  savedAgentNames,
  toSavedAgent,
} from "../store/saved-agents.ts";
import { sealHeaders } from "../store/sealed-headers.ts";
import { readPage } from "./cursor.ts";
import type { AgentNeeds, EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { newId } from "./ids.ts";
import { requireOwnLogin } from "./model.ts";
import { CLAIM } from "./wakes.ts";

type Profiles = Pick<EngineOptions, "describeAgent" | "agentNames">;

/** Most names in the words of an error. */
const NAMES_TOLD = 20;

/** The saved agents of an organization. Runs that exist keep what they were given. */
export function createSavedAgents(options: Pick<EngineOptions, "db" | "wakes" | "vault"> & Profiles) {
  const { db, wakes } = options;
  return {
    listAgents({ orgId }: Principal, query: z.output<typeof listAgentsSchema>): Promise<SavedAgentPage> {
      return readPage(query, { read: (page) => listSavedAgents(db, { orgId, ...page }), show: toSavedAgent, num: ({ num }) => num });
    },

    async createAgent(principal: Principal, { name, dailyCapUsd, ...input }: z.output<typeof createAgentSchema>): Promise<SavedAgent> {
      requireFreeName(options, name);
      const definition = checked(options, changeAgent(PLAIN_AGENT, sealed(options, principal.orgId, input)));
      const row = await insertSavedAgent(db, {
        orgId: principal.orgId,
        id: newId("agent"),
        name,
        definition,
        dailyCapNano: capOf(dailyCapUsd),
      });
      if (row === undefined) throw taken(name);
      return toSavedAgent(row);
    },

    async getAgent(principal: Principal, idOrName: string): Promise<SavedAgent> {
      const row = await findSavedAgent(db, principal.orgId, idOrName);
      if (row === undefined) throw agentNotFound(idOrName);
      return toSavedAgent(row);
    },

    async changeAgent(
      principal: Principal,
      idOrName: string,
      { name, dailyCapUsd, ...change }: z.output<typeof changeAgentSchema>,
    ): Promise<SavedAgent> {
      if (name !== undefined) requireFreeName(options, name);
      const stored = sealed(options, principal.orgId, change);
      const row = await changeSavedAgent(db, { orgId: principal.orgId, idOrName }, (before) => ({
        name: name ?? before.name,
        definition: checked(options, changeAgent(before.definition, stored)),
        daily_cap_nano: dailyCapUsd === undefined ? before.daily_cap_nano : capOf(dailyCapUsd),
      }));
      if (row === "missing") throw agentNotFound(idOrName);
      if (row === "taken") throw taken(name ?? idOrName);
      // A higher cap may let go what waited for it.
      wakes.notify(CLAIM);
      return toSavedAgent(row);
    },

    async deleteAgent(principal: Principal, idOrName: string): Promise<void> {
      if (!(await deleteSavedAgent(db, principal.orgId, idOrName))) throw agentNotFound(idOrName);
      // So does one that is gone.
      wakes.notify(CLAIM);
    },
  };
}

/** The change as it is stored: the values of headers are encrypted. */
function sealed({ vault }: Pick<EngineOptions, "vault">, orgId: string, change: AgentChange): AgentChange {
  return change.mcpServers == null ? change : { ...change, mcpServers: sealHeaders(vault, orgId, change.mcpServers) };
}

function capOf(dailyCapUsd: number | null | undefined): number | null {
  return dailyCapUsd == null ? null : nanoUsdOf(dailyCapUsd);
}

/** What a program of the user's own needs that is told of none. */
const NO_NEEDS: AgentNeeds = {
  apis: [],
  picksModel: false,
  ownLogin: "Runyard does not know what logins a program of your own has.",
};

/** Which agent a new run gets, and what it needs. */
export interface ResolvedAgent {
  /** Of the saved agent; null: it is none. */
  readonly id: string | null;
  readonly name: string | null;
  readonly definition: AgentDefinition;
  readonly needs: AgentNeeds;
}

/** The agent that a new run names: by a name of either kind, a profile or a command. Throws `unknown_agent`. */
export async function resolveAgent(
  options: Pick<EngineOptions, "db"> & Profiles,
  orgId: string,
  asked: { readonly name?: string | undefined; readonly profile?: string | undefined; readonly command?: string[] | undefined } = {},
): Promise<ResolvedAgent> {
  const saved = asked.name === undefined ? undefined : await findSavedAgent(options.db, orgId, asked.name);
  const definition = saved?.definition ?? changeAgent(PLAIN_AGENT, { profile: asked.name ?? asked.profile, command: asked.command });
  const needs = needsOf(options, definition);
  if (needs !== undefined) return { id: saved?.id ?? null, name: saved?.name ?? null, definition, needs };
  throw unknownProfile(
    options,
    definition.profile,
    asked.name === undefined ? [] : await savedAgentNames(options.db, orgId, NAMES_TOLD + 1),
  );
}

/** Undefined for a profile that there is none of. */
function needsOf({ describeAgent }: Profiles, { profile, command }: AgentDefinition): AgentNeeds | undefined {
  if (command !== null) return NO_NEEDS;
  return profile === "custom" ? undefined : describeAgent(profile);
}

function checked(profiles: Profiles, definition: AgentDefinition): AgentDefinition {
  const needs = needsOf(profiles, definition);
  if (needs === undefined) throw unknownProfile(profiles, definition.profile, []);
  if (definition.login === "own") requireOwnLogin(needs);
  return definition;
}

function unknownProfile({ agentNames }: Profiles, name: string, saved: readonly string[]): RunyardError {
  const names = [...saved.slice(0, NAMES_TOLD), ...agentNames().filter((profile) => profile !== "custom")];
  const more = saved.length > NAMES_TOLD ? ", and more saved ones" : "";
  return new RunyardError(
    "unknown_agent",
    `There is no agent "${name}". Known agents: ${names.join(", ")}${more}; or give a command that speaks ACP.`,
  );
}

/** Saved agents and profiles share their names, so that one word names an agent. */
function requireFreeName({ agentNames }: Profiles, name: string): void {
  if (!agentNames().includes(name)) return;
  const message = `must not be ${name}: that is a profile of Runyard's`;
  throw new RunyardError("invalid_request", `name: ${message}`, { errors: [{ path: "name", message }] });
}

function taken(name: string): RunyardError {
  return new RunyardError("agent_exists", `There is a saved agent ${name} already. Change it, or take another name.`);
}

export function agentNotFound(idOrName: string): RunyardError {
  return new RunyardError("agent_not_found", `There is no saved agent ${idOrName}. Saved agents are listed by GET /v1/agents.`);
}
