import type { AgentLoginChoice, Budget, Environment, McpServer, PermissionPolicy, RunSettings } from "@runyard/sdk/contract";
import { lowestLimit } from "./approval.ts";

/** A text that is encrypted, and the id of the key. */
export interface SealedText {
  readonly keyId: string;
  /** In base64. */
  readonly sealed: string;
}

/** A server as it is stored: the values of its headers encrypted, but for those that were only just given. */
export type StoredMcpServer = Omit<McpServer, "headers"> & { readonly headers?: Readonly<Record<string, string | SealedText>> | undefined };

/** What a saved agent is, beside its name; with the secrets of its servers. */
export interface AgentDefinition {
  readonly description: string | null;
  readonly profile: string;
  /** The words of a command, for the profile `custom`; else null. */
  readonly command: string[] | null;
  /** Not there in agents of earlier versions: `gateway`. */
  readonly login?: AgentLoginChoice | undefined;
  readonly model: string | null;
  readonly instructions: string | null;
  /** As it was asked for: what it comes to depends on the sandbox of each run. */
  readonly permissionPolicy: PermissionPolicy | null;
  readonly mcpServers: readonly StoredMcpServer[];
  /** Not there in agents that earlier versions saved, like the next one. */
  readonly environment?: Environment | undefined;
  readonly secrets?: readonly string[] | undefined;
  readonly settings: RunSettings;
  readonly plan: boolean | null;
  readonly budget: Budget | null;
}

type Change<T> = T | null | undefined;

/** What a request says of an agent: what is left out stays, null takes it away. */
export interface AgentChange {
  readonly description?: Change<string>;
  readonly profile?: Change<string>;
  readonly command?: Change<string[]>;
  readonly login?: Change<AgentLoginChoice>;
  readonly model?: Change<string>;
  readonly instructions?: Change<string>;
  readonly permissionPolicy?: Change<PermissionPolicy>;
  readonly mcpServers?: Change<readonly StoredMcpServer[]>;
  readonly environment?: Change<Environment>;
  readonly secrets?: Change<readonly string[]>;
  readonly settings?: Change<RunSettings>;
  readonly plan?: Change<boolean>;
  readonly budget?: Change<Budget>;
}

export const DEFAULT_PROFILE = "builtin";

/** An agent of which nothing was said. */
export const PLAIN_AGENT: AgentDefinition = {
  description: null,
  profile: DEFAULT_PROFILE,
  command: null,
  login: "gateway",
  model: null,
  instructions: null,
  permissionPolicy: null,
  mcpServers: [],
  environment: {},
  secrets: [],
  settings: {},
  plan: null,
  budget: null,
};

/** The agent after a change. A profile takes the place of a command, and a command that of a profile. */
export function changeAgent(before: AgentDefinition, change: AgentChange): AgentDefinition {
  const after = <Key extends keyof AgentChange & keyof AgentDefinition>(key: Key, empty: AgentDefinition[Key]): AgentDefinition[Key] => {
    const given = change[key] as AgentDefinition[Key] | null | undefined;
    return given === undefined ? before[key] : (given ?? empty);
  };
  return {
    description: after("description", null),
    ...programAfter(before, change),
    login: after("login", "gateway"),
    model: after("model", null),
    instructions: after("instructions", null),
    permissionPolicy: after("permissionPolicy", null),
    mcpServers: after("mcpServers", []),
    environment: after("environment", {}),
    secrets: after("secrets", []),
    settings: after("settings", {}),
    plan: after("plan", null),
    budget: after("budget", null),
  };
}

function programAfter(before: AgentDefinition, { profile, command }: AgentChange): Pick<AgentDefinition, "profile" | "command"> {
  if (command != null) return { profile: "custom", command };
  if (profile != null) return { profile, command: null };
  // What was taken away is what there was: the other of the two was not there.
  const isTaken = (profile === null && before.command === null) || (command === null && before.command !== null);
  return isTaken ? { profile: DEFAULT_PROFILE, command: null } : { profile: before.profile, command: before.command };
}

/** The part of a new run's request that a saved agent may have said already. */
export interface RunWishes {
  readonly login?: AgentLoginChoice | undefined;
  readonly model?: string | undefined;
  readonly permissionPolicy?: PermissionPolicy | undefined;
  readonly mcpServers?: readonly StoredMcpServer[] | undefined;
  readonly settings?: RunSettings | undefined;
  readonly plan?: boolean | undefined;
  readonly budget?: Budget | undefined;
}

/** What a run is asked to be that was given an agent: what it says itself, and where it says nothing, what the agent says. */
export interface ResolvedWishes {
  readonly login: AgentLoginChoice;
  readonly model: string | undefined;
  readonly permissionPolicy: PermissionPolicy | undefined;
  readonly mcpServers: readonly StoredMcpServer[];
  readonly settings: RunSettings;
  readonly plan: boolean | undefined;
  /** null: there is no limit. */
  readonly budget: Budget | null;
}

/**
 * Settings and limits of the budget are joined one by one, and servers by their names; the rest is the run's, or else the
 * agent's. The limit above which a person decides is the lower one: a run cannot loosen it.
 */
export function withAgent(wishes: RunWishes, agent: AgentDefinition): ResolvedWishes {
  const own = wishes.mcpServers ?? [];
  const approvalAboveUsd = lowestLimit([agent.settings.approvalAboveUsd, wishes.settings?.approvalAboveUsd]);
  const names = new Set(own.map((server) => server.name));
  return {
    login: wishes.login ?? agent.login ?? "gateway",
    model: wishes.model ?? agent.model ?? undefined,
    permissionPolicy: wishes.permissionPolicy ?? agent.permissionPolicy ?? undefined,
    mcpServers: [...agent.mcpServers.filter((server) => !names.has(server.name)), ...own],
    settings: {
      ...imageAside(sizeAside(agent.settings, wishes.settings), wishes.settings),
      ...wishes.settings,
      ...(approvalAboveUsd !== null && { approvalAboveUsd }),
    },
    plan: wishes.plan ?? agent.plan ?? undefined,
    budget: wishes.budget === undefined ? agent.budget : { ...agent.budget, ...wishes.budget },
  };
}

/** An agent's settings without its size of a sandbox, where the run names one, by either name. */
function sizeAside(settings: RunSettings, { sandboxType, machineType }: RunSettings = {}): RunSettings {
  if (sandboxType === undefined && machineType === undefined) return settings;
  const { sandboxType: _, machineType: __, ...rest } = settings;
  return rest;
}

/** An agent's settings without its container image, where the run asks for a driver that has none. */
function imageAside(settings: RunSettings, { sandboxDriver = "docker" }: RunSettings = {}): RunSettings {
  if (sandboxDriver === "docker") return settings;
  const { image: _, ...rest } = settings;
  return rest;
}
