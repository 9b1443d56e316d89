// Saved agents, and runs that name them, over the real engine and a real PostgreSQL.
import type { CreateAgentRequest, CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serve({ missingFiles: async (_, files) => files.filter((file) => file.startsWith("gone")) });
  await served.addToken("reader", { orgId: "org_a", scopes: ["agent:read"] });
  await served.addToken("worker", { orgId: "org_a", scopes: ["agent:read", "agent:write", "agent:execute"] });
});
afterAll(() => served?.close());

const ask: Served["ask"] = (...asked) => served.ask(...asked);
const run = (input: Partial<CreateRunRequest>): Promise<Run> =>
  served.client.runs.create({ task: "Do it", repositoryUrl: "/repository", ...input });

async function eventsOf(id: string): Promise<RunEvent[]> {
  const { body } = await ask("GET", `/agent-runs/${id}/events`);
  return body["data"] as RunEvent[];
}

const SECRET = "Bearer sk-canary-0123456789";

test("an agent is saved, shown, changed field by field, and deleted", async () => {
  const { agents } = served.client;
  const made = await agents.create({ name: "plain" });
  expect(made).toMatchObject({
    id: expect.stringMatching(/^agent_/) as string,
    name: "plain",
    description: null,
    profile: "builtin",
    command: null,
    model: null,
    instructions: null,
    permissionPolicy: null,
    mcpServers: [],
    settings: {},
    plan: null,
    budget: null,
  });
  expect(await agents.get("plain")).toEqual(made);
  expect(await agents.get(made.id)).toEqual(made);

  const changed = await agents.update("plain", {
    name: "fancy",
    model: "m-1",
    settings: { timeout: 5_000 },
    budget: { usd: 0.5, tokens: 1_000 },
  });
  expect(changed).toMatchObject({
    id: made.id,
    name: "fancy",
    model: "m-1",
    settings: { timeout: 5_000 },
    budget: { usd: 0.5, tokens: 1_000 },
  });
  expect(Date.parse(changed.updatedAt)).toBeGreaterThan(Date.parse(made.updatedAt));
  expect(await agents.update(made.id, { model: null, settings: null, command: ["node", "a.mjs"], budget: null })).toMatchObject({
    profile: "custom",
    command: ["node", "a.mjs"],
    model: null,
    settings: {},
    budget: null,
  });
  await expect(agents.get("plain")).rejects.toMatchObject({ status: 404, code: "agent_not_found" });
  await agents.delete("fancy");
  await expect(agents.delete("fancy")).rejects.toMatchObject({ status: 404, code: "agent_not_found" });
});

test("lists come in pages, the newest first", async () => {
  const { agents } = served.client;
  for (const name of ["page-1", "page-2", "page-3"]) await agents.create({ name });
  expect(await agents.list({ limit: 2 })).toMatchObject({ has_more: true, data: [{ name: "page-3" }, { name: "page-2" }] });
  const all: string[] = [];
  for await (const one of agents.list({ limit: 2 })) all.push(one.name);
  expect(all).toEqual(["page-3", "page-2", "page-1"]);
  for (const name of all) await agents.delete(name);
  expect(await agents.list()).toEqual({ data: [], has_more: false, next_cursor: null });
});

test("names are one to an organization, and none is a profile's", async () => {
  const { agents } = served.client;
  await agents.create({ name: "taken" });
  await agents.create({ name: "other" });
  await expect(agents.create({ name: "taken" })).rejects.toMatchObject({ status: 409, code: "agent_exists" });
  await expect(agents.update("other", { name: "taken" })).rejects.toMatchObject({ status: 409, code: "agent_exists" });
  expect(await agents.update("taken", { name: "taken" })).toMatchObject({ name: "taken" });
  for (const name of ["builtin", "custom"]) {
    await expect(agents.create({ name })).rejects.toMatchObject({ status: 422, errors: [{ path: "name" }] });
    await expect(agents.update("other", { name })).rejects.toMatchObject({ status: 422, errors: [{ path: "name" }] });
  }
  expect(await ask("POST", "/agents", { token: "token-b", body: { name: "taken" } })).toMatchObject({ status: 201 });
  // Of many at once, one is saved, and one gets a name that many want.
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask("POST", "/agents", { body: { name: "race" } })));
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, ...Array.from({ length: 7 }, () => 409)]);
  for (let index = 0; index < 8; index += 1) await agents.create({ name: `race-${index}` });
  const renamed = await Promise.all(answers.map((_, index) => ask("PATCH", `/agents/race-${index}`, { body: { name: "wanted" } })));
  expect(renamed.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, ...Array.from({ length: 7 }, () => 409)]);
});

test("who may not, may not; what is another's is not there; what is not known is refused", async () => {
  const made = await served.client.agents.create({ name: "guarded" });
  for (const token of ["reader", "worker"]) {
    for (const [method, path] of [
      ["POST", "/agents"],
      ["PATCH", "/agents/guarded"],
      ["DELETE", "/agents/guarded"],
    ] as const)
      expect([method, await ask(method, path, { token, body: {} })]).toMatchObject([method, { status: 403 }]);
    expect(await ask("GET", "/agents/guarded", { token })).toMatchObject({ status: 200 });
  }
  for (const word of ["guarded", made.id]) {
    for (const [method, body] of [
      ["GET", undefined],
      ["PATCH", {}],
      ["DELETE", undefined],
    ] as const)
      expect(await ask(method, `/agents/${word}`, { token: "token-b", body })).toMatchObject({
        status: 404,
        body: { code: "agent_not_found" },
      });
  }
  for (const word of ["UPPER", "agent_1", "a%20b", "a%2Fb", "-a"])
    expect(await ask("GET", `/agents/${word}`)).toMatchObject({ status: 404 });

  const server = { name: "docs", url: "http://docs.test/mcp" };
  const bad: [string, Record<string, unknown>][] = [
    ["name", { name: "No" }],
    ["name", { name: "a".repeat(65) }],
    ["colour", { colour: "red" }],
    ["$", { profile: "opencode", command: ["x"] }],
    ["instructions", { instructions: " " }],
    ["budget.usd", { budget: { usd: 0 } }],
    ["budget.tokens", { budget: { tokens: 1.5 } }],
    ["dailyCapUsd", { dailyCapUsd: 0 }],
    ["dailyCapUsd", { dailyCapUsd: "5" }],
    ["settings.approvalAboveUsd", { settings: { approvalAboveUsd: -1 } }],
    ["settings.timeot", { settings: { timeot: 1 } }],
    ["mcpServers", { mcpServers: [server, server] }],
    ["mcpServers[0].name", { mcpServers: [{ ...server, name: "runyard" }] }],
    ["mcpServers[0].name", { mcpServers: [{ ...server, name: "../x" }] }],
    ["mcpServers[0].command", { mcpServers: [{ ...server, command: ["x"] }] }],
    ["mcpServers[0].command", { mcpServers: [{ name: "docs" }] }],
    ["mcpServers[0].env", { mcpServers: [{ ...server, env: { A: "b" } }] }],
    ["mcpServers[0].headers", { mcpServers: [{ name: "docs", command: ["x"], headers: { a: "b" } }] }],
    ["mcpServers[0].url", { mcpServers: [{ ...server, url: "file:///etc/passwd" }] }],
    ["mcpServers[0].url", { mcpServers: [{ ...server, url: "http://user:secret@docs.test/" }] }],
    ["mcpServers[0].url", { mcpServers: [{ ...server, url: "http://169.254.169.254/latest" }] }],
    // The same address in another spelling.
    ["mcpServers[0].url", { mcpServers: [{ ...server, url: "http://0xa9fea9fe/latest" }] }],
    ["mcpServers[0].url", { mcpServers: [{ ...server, url: "http://[::ffff:169.254.169.254]/" }] }],
    ["mcpServers[0].url", { mcpServers: [{ ...server, url: "http://[fd00:ec2::254]/" }] }],
    ["mcpServers[0].headers.host", { mcpServers: [{ ...server, headers: { host: "x" } }] }],
    ["mcpServers[0].headers.x", { mcpServers: [{ ...server, headers: { x: "a\r\nb: c" } }] }],
    ["mcpServers[0].headers.x", { mcpServers: [{ ...server, headers: { x: "[hidden]" } }] }],
    ["mcpServers[0].env.A", { mcpServers: [{ name: "docs", command: ["x"], env: { A: "[hidden]" } }] }],
  ];
  for (const [path, part] of bad) {
    const answer = await ask("POST", "/agents", { body: { name: "bad", ...part } });
    expect([part, answer]).toMatchObject([part, { status: 422, body: { code: "invalid_request" } }]);
    const paths = (answer.body["errors"] as { path: string }[]).map((error) => error.path);
    expect([part, paths]).toEqual([part, expect.arrayContaining([path])]);
  }
  expect(await ask("POST", "/agents", { body: { name: "bad", profile: "nobody" } })).toMatchObject({
    status: 422,
    body: { code: "unknown_agent" },
  });
  expect(await ask("PATCH", "/agents/guarded", { body: { profile: "custom" } })).toMatchObject({
    status: 422,
    body: { code: "unknown_agent" },
  });
  expect(await served.client.agents.get("guarded")).toEqual(made);
});

test("secrets of MCP servers are in no answer and no event", async () => {
  const mcpServers = [
    { name: "docs", url: "http://127.0.0.1:9/mcp", headers: { authorization: SECRET } },
    { name: "local", command: ["docs-server", "--stdio"], env: { TOKEN: SECRET } },
  ];
  const agent = await served.client.agents.create({ name: "secretive", mcpServers });
  expect(agent.mcpServers).toEqual([
    { name: "docs", url: "http://127.0.0.1:9/mcp", headers: { authorization: "[hidden]" } },
    { name: "local", command: ["docs-server", "--stdio"], env: { TOKEN: "[hidden]" } },
  ]);
  const made = await run({ agent: { name: "secretive" } });
  expect(made.mcpServers).toEqual(agent.mcpServers);
  const own = await run({ mcpServers });
  const answers = [
    agent,
    await served.client.agents.update("secretive", { description: "x" }),
    await served.client.agents.get("secretive"),
    await served.client.agents.list(),
    made,
    own,
    await served.client.runs.get(made.id),
    await served.client.runs.list(),
    await eventsOf(made.id),
    await eventsOf(own.id),
    served.log,
  ];
  expect(JSON.stringify(answers)).not.toContain("canary");
  // The control: it is stored, because runs need it.
  const [row] = await served.database.db.queryInOrganization<{ spec: object }>("org_a", "select spec from runyard.runs where id = $1", [
    made.id,
  ]);
  expect(JSON.stringify(row?.spec)).toContain("canary");
});

test("a run is what it says itself, then what its agent says, then what its repository and organization say", async () => {
  const definition: CreateAgentRequest = {
    name: "reviewer",
    profile: "builtin",
    model: "agent-model",
    instructions: "You review.",
    permissionPolicy: { ask: ["edit"] },
    settings: { timeout: 60_000, maxRetries: 2, sandboxDriver: "process" },
    plan: false,
    budget: { usd: 3 },
  };
  await served.client.agents.create(definition);
  const { id: repository } = await served.client.repositories.create("/repository");
  await served.client.repositories.update(repository, { plan: true });

  const given = await run({ agent: { name: "reviewer" } });
  expect(given).toMatchObject({
    agent: { name: "reviewer", profile: "builtin", command: null },
    model: "agent-model",
    instructions: "You review.",
    planFirst: false,
    settings: { timeout: 60_000, maxRetries: 2, sandboxDriver: "process" },
    permissionPolicy: { ask: ["edit"] },
  });
  const own = await run({
    agent: { name: "reviewer" },
    model: "own-model",
    plan: true,
    permissionPolicy: { deny: ["edit"] },
    settings: { timeout: 5_000 },
  });
  expect(own).toMatchObject({
    model: "own-model",
    planFirst: true,
    settings: { timeout: 5_000, maxRetries: 2 },
    permissionPolicy: { ask: [], deny: ["edit"] },
  });
  // The control: without the agent, the repository decides.
  expect(await run({})).toMatchObject({ agent: { name: null, profile: "builtin" }, planFirst: true, instructions: null });

  const [created] = await eventsOf(given.id);
  expect(created).toMatchObject({ type: "run.created", data: { agent: { name: "reviewer", profile: "builtin", command: null } } });
  const [row] = await served.database.db.queryInOrganization<{ spec: object }>("org_a", "select spec from runyard.runs where id = $1", [
    given.id,
  ]);
  expect(row?.spec).toMatchObject({ budget: { usd: 3 } });

  // What becomes of the agent later does not reach the run.
  await served.client.agents.update("reviewer", { model: "later-model", instructions: "Changed." });
  expect(await served.client.runs.get(given.id)).toMatchObject({ model: "agent-model", instructions: "You review." });
  await served.client.agents.delete("reviewer");
  expect(await served.client.runs.get(given.id)).toMatchObject({ agent: { name: "reviewer" }, model: "agent-model" });
  await served.client.repositories.update(repository, { plan: null });
});

test("an agent's daily cap is set, shown and taken away, and holds for runs that it was given before", async () => {
  const { agents, runs } = served.client;
  const made = await agents.create({ name: "thrifty", dailyCapUsd: 5 });
  expect(made).toMatchObject({ dailyCapUsd: 5, spentTodayUsd: 0 });
  expect(await agents.update("thrifty", { description: "Spends little" })).toMatchObject({ dailyCapUsd: 5 });
  const first = await run({ agent: { name: "thrifty" } });
  const second = await run({ agent: { name: "thrifty" } });
  expect(await served.claim(first.id)).toMatchObject({ agent_id: made.id, allowance_nano: 5_000_000_000 });
  expect(await runs.get(second.id)).toMatchObject({ status: "pending", queueReason: "agent-daily-cap" });
  expect((await runs.list({ status: "pending" })).data.find(({ id }) => id === second.id)).toMatchObject({
    queueReason: "agent-daily-cap",
  });
  // By another name it is the same agent.
  expect(await agents.update("thrifty", { name: "generous", dailyCapUsd: null })).toMatchObject({ dailyCapUsd: null });
  expect(await runs.get(second.id)).toMatchObject({ queueReason: "order" });
  await agents.update("generous", { dailyCapUsd: 5 });
  expect(await runs.get(second.id)).toMatchObject({ queueReason: "agent-daily-cap" });
  await agents.delete("generous");
  expect(await served.claim(second.id)).toMatchObject({ allowance_nano: null });
});

test("a name is a saved agent's or a profile's, and an unknown one is answered with those that there are", async () => {
  await served.client.agents.create({ name: "mine", command: ["node", "mine.mjs"] });
  expect(await run({ agent: { name: "mine" } })).toMatchObject({
    agent: { name: "mine", profile: "custom", command: ["node", "mine.mjs"] },
  });
  expect(await run({ agent: { name: "builtin" } })).toMatchObject({ agent: { name: null, profile: "builtin", command: null } });
  for (const agent of [{ name: "nobody" }, { name: "custom" }, { profile: "mine" }, { profile: "custom" }])
    await expect(run({ agent })).rejects.toMatchObject({
      status: 422,
      code: "unknown_agent",
      message: expect.stringContaining("builtin") as string,
    });
  await expect(run({ agent: { name: "nobody" } })).rejects.toThrow(/mine/);
  // Another organization's agents are neither used nor told.
  const other = await ask("POST", "/agent-runs", { token: "token-b", body: { task: "x", repositoryUrl: "/r", agent: { name: "mine" } } });
  expect(other).toMatchObject({ status: 422, body: { code: "unknown_agent", detail: expect.not.stringContaining("secretive") as string } });
  for (const agent of [
    { name: "mine", profile: "builtin" },
    { name: "mine", command: ["x"] },
    { profile: "builtin", command: ["x"] },
  ])
    expect(await ask("POST", "/agent-runs", { body: { task: "x", repositoryUrl: "/r", agent } })).toMatchObject({ status: 422 });
});

test("context and files are kept, shown, and in the prompt; what is not there is said", async () => {
  await served.client.agents.create({ name: "briefed", instructions: "Be brief." });
  const context = { issue: "LIN-1", nested: { list: [1, null, "```"] } };
  const made = await run({ task: "Fix it", agent: { name: "briefed" }, context, files: ["src/a.ts", "gone/b.ts"] });
  expect(made).toMatchObject({ task: "Fix it", context, files: ["src/a.ts", "gone/b.ts"] });
  const events = await eventsOf(made.id);
  const prompt = events.flatMap((event) => (event.type === "message.user" ? [event.data.text] : []))[0] ?? "";
  expect(prompt).toMatch(/^Be brief\.\n\n---\n\nFix it\n\nContext:\n\n````json\n/);
  expect(prompt.endsWith("Look at these files first:\n\n- src/a.ts\n- gone/b.ts")).toBe(true);
  const notices = events.flatMap((event) => (event.type === "notice" ? [event.data] : []));
  expect(notices).toEqual([
    { level: "warning", code: "file-missing", message: expect.stringMatching(/does not have: gone\/b\.ts$/) as string },
  ]);
  // The control: a run that says nothing of it.
  expect(await run({})).toMatchObject({ context: null, files: [], mcpServers: [] });
});

test("a context or a path that cannot be is refused", async () => {
  // Written out, because it is too deep for whoever writes JSON.
  const deep = (levels: number): string => `{"task":"x","repositoryUrl":"/r","context":${'{"a":'.repeat(levels)}1${"}".repeat(levels)}}`;
  const bad: (string | Record<string, unknown>)[] = [
    deep(66),
    deep(100_000),
    { context: [] },
    { context: "text" },
    { context: { a: "x".repeat(262_144) } },
    { context: { a: "NUL \0" } },
    ...["/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "", "a\nb", "x".repeat(1_025)].map((file) => ({ files: [file] })),
    { files: Array.from({ length: 201 }, (_, index) => `f${index}`) },
  ];
  for (const part of bad) {
    const given = typeof part === "string" ? part : JSON.stringify({ task: "x", repositoryUrl: "/r", ...part });
    const { status, body } = await ask("POST", "/agent-runs", { body: given });
    expect([given.slice(0, 100), status, body["code"]]).toEqual([given.slice(0, 100), 422, "invalid_request"]);
  }
  expect(await ask("POST", "/agent-runs", { body: deep(64) })).toMatchObject({ status: 201 });
  expect(await run({ context: { a: "x".repeat(262_000) }, files: ["a/..b/c..", ".env", "größe.md"] })).toMatchObject({ status: "pending" });
});
