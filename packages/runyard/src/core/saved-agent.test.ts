import type { RunSettings } from "@runyard/sdk/contract";
import { describe, expect, it } from "vitest";
import { type AgentDefinition, changeAgent, PLAIN_AGENT, withAgent } from "./saved-agent.ts";

const REVIEWER: AgentDefinition = {
  description: "Reviews",
  profile: "opencode",
  command: null,
  login: "own",
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
      login: null,
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
  it("calls with the server's keys, unless it or its agent says otherwise", () => {
    const { login: _, ...earlier } = REVIEWER;
    expect(withAgent({}, earlier).login).toBe("gateway");
    expect(changeAgent(earlier, {}).login).toBeUndefined();
    expect(withAgent({ login: "own" }, earlier).login).toBe("own");
    expect(withAgent({ login: "gateway" }, REVIEWER).login).toBe("gateway");
  });

  it("is what the agent says, where it says nothing itself", () => {
    expect(withAgent({}, REVIEWER)).toEqual({
      login: "own",
      model: "m-1",
      permissionPolicy: REVIEWER.permissionPolicy,
      mcpServers: REVIEWER.mcpServers,
      settings: REVIEWER.settings,
      plan: true,
      budget: { usd: 2 },
    });
    expect(withAgent({}, PLAIN_AGENT)).toEqual({
      login: "gateway",
      model: undefined,
      permissionPolicy: undefined,
      mcpServers: [],
      settings: {},
      plan: undefined,
      budget: null,
    });
  });

  it("has one size: that of the run, by whichever name", () => {
    const of = (settings: RunSettings) => withAgent({ settings }, REVIEWER).settings;
    expect(of({ machineType: "large" })).toEqual({ timeout: 60_000, machineType: "large" });
    expect(of({ sandboxType: "standard" })).toEqual({ timeout: 60_000, sandboxType: "standard" });
    expect(of({})).toEqual(REVIEWER.settings);
  });

  it("has the agent's container image where the run has containers, or leaves that open", () => {
    const agent = { ...REVIEWER, settings: { image: "node:22", sandboxDriver: "docker" } as const };
    const of = (settings: RunSettings) => withAgent({ settings }, agent).settings;
    expect(of({})).toEqual(agent.settings);
    expect(of({ sandboxDriver: "docker" })).toEqual(agent.settings);
    expect(of({ image: "node:24" })).toEqual({ image: "node:24", sandboxDriver: "docker" });
    expect(of({ sandboxDriver: "bwrap" })).toEqual({ sandboxDriver: "bwrap" });
    expect(of({ sandboxDriver: "bwrap", image: "node:24" })).toEqual({ sandboxDriver: "bwrap", image: "node:24" });
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
      login: "own",
      settings: { timeout: 5_000, sandboxType: "high-cpu" },
      budget: { usd: 2, tokens: 9 },
    });
    expect(withAgent({ mcpServers: [other] }, REVIEWER).mcpServers).toEqual([...REVIEWER.mcpServers, other]);
  });

  it("cannot loosen from where on a person decides", () => {
    const bound = { ...REVIEWER, settings: { approvalAboveUsd: 5 } };
    const above = (approvalAboveUsd: number) => withAgent({ settings: { approvalAboveUsd } }, bound).settings;
    expect(above(9)).toEqual({ approvalAboveUsd: 5 });
    expect(above(1)).toEqual({ approvalAboveUsd: 1 });
    expect(withAgent({ settings: { approvalAboveUsd: 9 } }, REVIEWER).settings).toMatchObject({ approvalAboveUsd: 9 });
  });
});
