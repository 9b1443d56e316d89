import { describe, expect, it } from "vitest";
import { type AgentDefinition, changeAgent, PLAIN_AGENT, withAgent } from "./saved-agent.ts";

const REVIEWER: AgentDefinition = {
  description: "Reviews",
  profile: "opencode",
  command: null,
  model: "m-1",
  instructions: "You review.",
  permissionPolicy: { ask: ["edit"], deny: [] },
  mcpServers: [{ name: "docs", url: "http://docs.test/mcp" }],
  environment: { NODE_ENV: "test" },
  secrets: ["NPM_TOKEN"],
  settings: { timeout: 60_000, sandboxType: "high-cpu" },
  plan: true,
  budget: { usd: 2 },
};

describe("a change of an agent", () => {
  it("leaves what it does not name, and takes away what is null", () => {
    expect(changeAgent(REVIEWER, {})).toEqual(REVIEWER);
    expect(changeAgent(REVIEWER, { description: "Looks", plan: false })).toEqual({ ...REVIEWER, description: "Looks", plan: false });
    const nothing = {
      description: null,
      profile: null,
      model: null,
      instructions: null,
      permissionPolicy: null,
      mcpServers: null,
      environment: null,
      secrets: null,
      settings: null,
      plan: null,
      budget: null,
    };
    expect(changeAgent(REVIEWER, nothing)).toEqual(PLAIN_AGENT);
  });

  it("replaces settings and servers as a whole", () => {
    expect(changeAgent(REVIEWER, { settings: { maxRetries: 1 }, mcpServers: [] })).toMatchObject({
      settings: { maxRetries: 1 },
      mcpServers: [],
    });
    expect(changeAgent(REVIEWER, { settings: { maxRetries: 1 } }).settings).not.toHaveProperty("timeout");
  });

  it("makes a command of a profile, a profile of a command, and the default of neither", () => {
    const own = changeAgent(REVIEWER, { command: ["node", "a.mjs"] });
    expect(own).toMatchObject({ profile: "custom", command: ["node", "a.mjs"] });
    expect(changeAgent(own, { profile: "codex" })).toMatchObject({ profile: "codex", command: null });
    expect(changeAgent(own, { command: null })).toMatchObject({ profile: "builtin", command: null });
    expect(changeAgent(own, { profile: null })).toMatchObject({ profile: "custom", command: ["node", "a.mjs"] });
    expect(changeAgent(REVIEWER, { command: null })).toMatchObject({ profile: "opencode", command: null });
  });
});

describe("a run that was given an agent", () => {
  it("is what the agent says, where it says nothing itself", () => {
    expect(withAgent({}, REVIEWER)).toEqual({
      model: "m-1",
      permissionPolicy: REVIEWER.permissionPolicy,
      mcpServers: REVIEWER.mcpServers,
      settings: REVIEWER.settings,
      plan: true,
      budget: { usd: 2 },
    });
    expect(withAgent({}, PLAIN_AGENT)).toEqual({
      model: undefined,
      permissionPolicy: undefined,
      mcpServers: [],
      settings: {},
      plan: undefined,
      budget: null,
    });
  });

  it("is what it says itself: settings and limits one by one, servers by name", () => {
    const own = { name: "docs", command: ["docs-server"] };
    const other = { name: "issues", url: "http://issues.test/" };
    const policy = { ask: [], deny: [] };
    const wishes = {
      model: "m-2",
      permissionPolicy: policy,
      mcpServers: [own, other],
      settings: { timeout: 5_000 },
      plan: false,
      budget: { tokens: 9 },
    };
    expect(withAgent(wishes, REVIEWER)).toEqual({
      ...wishes,
      settings: { timeout: 5_000, sandboxType: "high-cpu" },
      budget: { usd: 2, tokens: 9 },
    });
    expect(withAgent({ mcpServers: [other] }, REVIEWER).mcpServers).toEqual([...REVIEWER.mcpServers, other]);
  });
});
