// What holds for the runs of an organization and of its repositories, over the real engine and a real PostgreSQL.
import type { CreateRunRequest, Repository } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serve({
    // As git finds it: one root for every folder in it.
    inspectRepository: async (url, branch) => ({
      root: url.replace(/\/sub$/, ""),
      branch: branch ?? "main",
      commit: "a".repeat(40),
      notices: [],
    }),
  });
  await served.addToken("reader", { orgId: "org_a", scopes: ["organization:read"] });
  await served.addToken("worker", { orgId: "org_a", scopes: ["agent:read", "agent:write", "agent:execute"] });
});
afterAll(() => served?.close());

const ask: Served["ask"] = (...asked) => served.ask(...asked);
const repository = (name: string): Promise<Repository> => served.client.repositories.create(`/${name}`);

test("the organization's daily cap is set, shown and taken away; what is no amount is refused", async () => {
  const { organization } = served.client;
  expect(await organization.get()).toMatchObject({ dailyCapUsd: null, spentTodayUsd: 0 });
  expect(await organization.update({ dailyCapUsd: 20.5 })).toMatchObject({ dailyCapUsd: 20.5, planFirst: false });
  expect(await organization.update({ planFirst: false })).toMatchObject({ dailyCapUsd: 20.5 });
  for (const dailyCapUsd of [0, -1, "20", 2_000_000, {}])
    expect(await ask("PATCH", "/organization", { body: { dailyCapUsd } })).toMatchObject({
      status: 422,
      body: { errors: [{ path: "dailyCapUsd" }] },
    });
  expect(await ask("PATCH", "/organization", { body: { dailyCapUsd: 1 }, token: "reader" })).toMatchObject({ status: 403 });
  expect(await organization.update({ dailyCapUsd: null })).toMatchObject({ dailyCapUsd: null });
});

test("a repository is known from its first run or before, once, and changes field by field", async () => {
  const { repositories, runs } = served.client;
  const first = await repository("first");
  expect(first).toMatchObject({ repositoryUrl: "/first", plan: null, planningStatement: null, autoConfirmPlans: false });
  expect(await repositories.create("/first/sub")).toEqual(first);
  await runs.create({ task: "x", repositoryUrl: "/second" });
  await runs.create({ task: "x", repositoryUrl: "/first" });
  expect((await repositories.list()).data.map((one) => one.repositoryUrl)).toEqual(["/second", "/first"]);

  expect(await repositories.update(first.id, { plan: true })).toEqual({ ...first, plan: true });
  expect(await repositories.update(first.id, { planningStatement: " Name the tests. ", autoConfirmPlans: true })).toEqual({
    ...first,
    plan: true,
    planningStatement: "Name the tests.",
    autoConfirmPlans: true,
  });
  expect(await repositories.update(first.id, {})).toMatchObject({ plan: true, planningStatement: "Name the tests." });
  // A run and another registration leave it as it is.
  await runs.create({ task: "x", repositoryUrl: "/first", plan: false });
  expect(await repository("first")).toMatchObject({ plan: true, autoConfirmPlans: true });
  await repositories.update(first.id, { plan: null, planningStatement: null, autoConfirmPlans: false });
  expect(await repositories.get(first.id)).toEqual(first);
});

test("lists come in pages", async () => {
  for (const name of ["p1", "p2", "p3"]) await repository(name);
  const page = await served.client.repositories.list({ limit: 2 });
  expect(page).toMatchObject({ has_more: true, data: [{ repositoryUrl: "/p3" }, { repositoryUrl: "/p2" }] });
  const all: string[] = [];
  for await (const one of served.client.repositories.list({ limit: 2 })) all.push(one.repositoryUrl);
  expect(all).toEqual(["/p3", "/p2", "/p1", "/second", "/first"]);
  expect(await ask("GET", "/repositories?cursor=nonsense")).toMatchObject({ status: 422 });
});

test("who may not, may not; what is another's is not there; what is not known is refused", async () => {
  const { id } = await repository("guarded");
  for (const token of ["reader", "worker"]) {
    for (const [method, path] of [
      ["PATCH", `/repositories/${id}`],
      ["PATCH", "/organization"],
      ["POST", "/repositories"],
    ] as const)
      expect([method, path, await ask(method, path, { token, body: {} })]).toMatchObject([method, path, { status: 403 }]);
  }
  for (const path of ["/repositories", `/repositories/${id}`, "/organization"]) {
    expect(await ask("GET", path, { token: "worker" })).toMatchObject({ status: 403 });
    expect(await ask("GET", path, { token: "reader" })).toMatchObject({ status: 200 });
  }
  for (const [method, body] of [
    ["GET", undefined],
    ["PATCH", { plan: true }],
  ] as const)
    expect(await ask(method, `/repositories/${id}`, { token: "token-b", body })).toMatchObject({
      status: 404,
      body: { code: "repository_not_found" },
    });
  expect(await ask("GET", "/repositories", { token: "token-b" })).toMatchObject({ body: { data: [] } });

  for (const body of [
    { plans: true },
    { plan: "yes" },
    { planningStatement: "" },
    { planningStatement: "a\0b" },
    { autoConfirmPlans: null },
  ])
    expect([body, await ask("PATCH", `/repositories/${id}`, { body })]).toMatchObject([body, { status: 422 }]);
  for (const body of [{ name: "other" }, { planFirst: null }])
    expect([body, await ask("PATCH", "/organization", { body })]).toMatchObject([body, { status: 422 }]);
  expect(await served.client.repositories.get(id)).toMatchObject({ plan: null, planningStatement: null });

  expect(await ask("PUT", `/repositories/${id}`, { body: {} })).toMatchObject({ status: 405, allow: "GET, HEAD, PATCH" });
  expect(await ask("DELETE", "/organization")).toMatchObject({ status: 405, allow: "GET, HEAD, PATCH" });
});

test("a signed-in browser changes settings from the server's own pages only", async () => {
  const { url } = await served.client.createLoginLink();
  const cookie = (await fetch(url, { redirect: "manual" })).headers.get("set-cookie")?.split(";")[0] ?? "";
  const change = async (headers: Record<string, string>): Promise<number> => {
    const init = { method: "PATCH", headers: { cookie, "content-type": "application/json", ...headers }, body: "{}" };
    return (await fetch(`${served.door.url}/v1/organization`, init)).status;
  };
  expect(await change({ origin: served.door.url })).toBe(200);
  expect(await change({})).toBe(403);
  expect(await change({ origin: "http://evil.example" })).toBe(403);
});

test("a run goes by what it says itself, then by its repository, then by its organization", async () => {
  const { repositories, organization } = served.client;
  const { id } = await repository("order");
  const planned = async (input: Partial<CreateRunRequest> = {}): Promise<boolean> =>
    (await served.client.runs.create({ task: "x", repositoryUrl: "/order", ...input })).planFirst;

  expect(await organization.get()).toMatchObject({ id: "org_a", planFirst: false });
  expect(await planned()).toBe(false);
  expect(await organization.update({ planFirst: true })).toMatchObject({ planFirst: true });
  expect([await planned(), await planned({ plan: false })]).toEqual([true, false]);
  await repositories.update(id, { plan: false });
  expect([await planned(), await planned({ plan: true })]).toEqual([false, true]);
  await organization.update({ planFirst: false });
  await repositories.update(id, { plan: true });
  expect(await planned()).toBe(true);
});

test("plans that are confirmed by themselves wait for nobody, unless the run says how long", async () => {
  const { id } = await repository("auto");
  await served.client.repositories.update(id, { plan: true, autoConfirmPlans: true });
  const settings = async (asked: CreateRunRequest["settings"]): Promise<unknown> =>
    (await served.client.runs.create({ task: "x", repositoryUrl: "/auto", settings: asked })).settings;
  expect(await settings({})).toMatchObject({ planTimeout: 0, onPlanTimeout: "approve" });
  expect(await settings({ planTimeout: 60_000 })).toMatchObject({ planTimeout: 60_000, onPlanTimeout: "reject" });
});

test("variables of a run are its own, its agent's, its repository's and its organization's, the more special first", async () => {
  const { repositories, organization, agents, runs } = served.client;
  const { id } = await repository("variables");
  expect(await organization.get()).toMatchObject({ environment: {}, secrets: [] });
  expect(await organization.update({ environment: { A: "org", B: "org", C: "org", D: "org" } })).toMatchObject({
    environment: { A: "org", B: "org", C: "org", D: "org" },
  });
  expect(await repositories.update(id, { environment: { B: "repository", C: "repository", D: "repository" } })).toMatchObject({
    environment: { B: "repository", C: "repository", D: "repository" },
  });
  await agents.create({ name: "with-variables", environment: { C: "agent", D: "agent" } });
  const environment = async (input: Partial<CreateRunRequest>): Promise<unknown> =>
    (await runs.create({ task: "x", repositoryUrl: "/variables", ...input })).environment;
  const agent = { name: "with-variables" };
  expect(await environment({ agent, environment: { D: "run" } })).toEqual({ A: "org", B: "repository", C: "agent", D: "run" });
  expect(await environment({})).toEqual({ A: "org", B: "repository", C: "repository", D: "repository" });

  // What is left out stays, and null takes it away.
  expect(await repositories.update(id, { plan: false })).toMatchObject({ environment: { B: "repository" } });
  expect(await repositories.update(id, { environment: null })).toMatchObject({ environment: {} });
  await organization.update({ environment: {} });
  expect(await environment({ agent })).toEqual({ C: "agent", D: "agent" });
  expect(await agents.update("with-variables", { environment: null })).toMatchObject({ environment: {} });
  expect(await environment({ agent })).toEqual({});
});

test.each([
  ["PATH", "must not be PATH: Runyard sets it itself"],
  ["LD_PRELOAD", "must not be LD_PRELOAD: it decides which code programs load or run when they start"],
  ["BASH_ENV", "must not be BASH_ENV: it decides which code programs load or run when they start"],
  ["NODE_OPTIONS", "must not be NODE_OPTIONS: it decides which code programs load or run when they start"],
  ["GIT_DIR", "must not be GIT_DIR: git goes by what Runyard sets, and by the repository"],
  ["RUNYARD_HOME", "must not be RUNYARD_HOME: names that begin with RUNYARD_ are Runyard's own"],
  ["OPENAI_BASE_URL", "must not be OPENAI_BASE_URL: it is an agent's way to the model, which Runyard makes"],
  ["https_proxy", "must not be https_proxy: a sandbox has one way out, the gateway"],
  ["A-B", "must be letters, digits and _, not begin with a digit, and have at most 128 characters"],
])("the variable %s is refused with the reason, wherever it is given", async (name, message) => {
  const { id } = await repository("refused");
  for (const [method, path, more] of [
    ["POST", "/agent-runs", { task: "x", repositoryUrl: "/refused" }],
    ["POST", "/agents", { name: "refused" }],
    ["PATCH", `/repositories/${id}`, {}],
    ["PATCH", "/organization", {}],
  ] as const) {
    const refused = { status: 422, body: { code: "invalid_request", errors: [{ path: `environment.${name}`, message }] } };
    expect(await ask(method, path, { body: { ...more, environment: { [name]: "x" } } })).toMatchObject(refused);
    expect(await ask(method, path, { body: { ...more, secrets: [name] } })).toMatchObject({ status: 422, body: { errors: [{ message }] } });
  }
  // The control: the same body with another name.
  expect(await ask("PATCH", `/repositories/${id}`, { body: { environment: { NODE_ENV: "x" } } })).toMatchObject({ status: 200 });
});

test("too many variables, too long ones, and a name in both are refused", async () => {
  const { id } = await repository("sizes");
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`V${index}`, "x"]));
  for (const body of [
    { environment: many },
    { environment: { A: "x".repeat(16_385) } },
    { environment: { A: "x".repeat(16_000), B: "x".repeat(16_000), C: "x".repeat(16_000), D: "x".repeat(16_000), E: "x".repeat(16_000) } },
    { environment: { A: 1 } },
    { environment: { A: "x" }, secrets: ["A"] },
    { secrets: ["A", "A"] },
  ])
    expect(await ask("PATCH", `/repositories/${id}`, { body })).toMatchObject({ status: 422, body: { code: "invalid_request" } });
});

test("what holds for the checks of a repository's runs is set as a whole, shown and taken away; what is none is refused", async () => {
  const { repositories, runs } = served.client;
  const { id, checks } = await repository("checked");
  expect(checks).toBeNull();
  const defaults = { watch: true, retries: 3, retriesByCheck: {}, ignored: [], prompts: {}, timeout: 3_600_000 };
  expect(await repositories.update(id, { checks: { watch: true, ignored: ["deploy / *"], retriesByCheck: { e2e: 0 } } })).toMatchObject({
    checks: { ...defaults, ignored: ["deploy / *"], retriesByCheck: { e2e: 0 } },
  });
  expect((await repositories.update(id, { checks: { watch: true } })).checks).toEqual(defaults);
  expect((await repositories.update(id, { plan: true })).checks).toEqual(defaults);
  const bad = [
    { retries: 11 },
    { retriesByCheck: { e2e: -1 } },
    { ignored: [""] },
    { prompts: { unit: " " } },
    { timeout: 1 },
    { wach: true },
  ];
  for (const wrong of bad) expect(await ask("PATCH", `/repositories/${id}`, { body: { checks: wrong } })).toMatchObject({ status: 422 });
  expect(await ask("PATCH", `/repositories/${id}`, { body: { checks: null }, token: "reader" })).toMatchObject({ status: 403 });
  // The repository is at no GitHub server: its runs do not wait, and one that asks for it is refused.
  expect(await runs.create({ task: "x", repositoryUrl: "/checked" })).toMatchObject({ checks: null });
  await expect(runs.create({ task: "x", repositoryUrl: "/checked", watchChecks: true })).rejects.toMatchObject({
    code: "checks_not_watchable",
    status: 422,
  });
  await expect(runs.create({ task: "x", repositoryUrl: "/checked", watchChecks: true, publish: "none" })).rejects.toThrow(
    "A run that publishes nothing has no commit",
  );
  expect((await repositories.update(id, { checks: null })).checks).toBeNull();
});
