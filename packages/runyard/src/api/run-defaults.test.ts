// What a repository gives to runs that do not say it themselves, over the real engine and a real PostgreSQL.
import { type CreateRunRequest, type Repository, type Run, type RunEstimate, RunyardError } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
/** Branches that git was asked for; "HEAD" for none. */
const lookedAt: string[] = [];
beforeAll(async () => {
  served = await serve({
    inspectRepository: async (url, branch) => {
      lookedAt.push(branch ?? "HEAD");
      if (branch === "gone") throw new RunyardError("repository_not_usable", `There is no branch gone in ${url}; there is main`);
      if (branch === "away") throw new RunyardError("repository_not_usable", "Nobody is there", { cause: new Error("ECONNREFUSED") });
      return { root: url.replace(/\/sub$/, ""), branch: branch ?? "main", commit: "a".repeat(40), notices: [] };
    },
    costOf: async () => 1_000_000_000,
  });
  await served.client.credentials.set({ kind: "token", url: "https://github.com/acme", token: "decoy of a token" });
});
afterAll(() => served?.close());

const TEST = { run: "npm test", kind: "test" as const };
const SHOWN = { ...TEST, timeout: 600_000 };

/** A repository with settings, and runs of it. */
interface Settled {
  readonly repository: Repository;
  readonly run: (more?: Partial<CreateRunRequest>) => Promise<Run>;
  readonly estimate: (more?: Partial<CreateRunRequest>) => Promise<RunEstimate>;
}

async function settled(name: string, settings: object = {}): Promise<Settled> {
  const body = { task: "Do it", repositoryUrl: `/${name}` };
  return {
    repository: await served.client.repositories.create({ repositoryUrl: body.repositoryUrl, ...settings }),
    run: (more) => served.client.runs.create({ ...body, ...more }),
    estimate: (more) => served.client.runs.estimate({ ...body, ...more }),
  };
}

test("a repository is made known with its settings at once; of one that is known what is given changes", async () => {
  const { repositories } = served.client;
  const made = await repositories.create({ repositoryUrl: "/once/sub", branch: "next", verify: [TEST], agent: "codex", plan: true });
  expect(made).toMatchObject({ repositoryUrl: "/once", branch: "next", verify: [SHOWN], agent: "codex", plan: true, publish: null });
  expect(await repositories.create({ repositoryUrl: "/once", branch: null })).toEqual({ ...made, branch: null });
  expect(await repositories.create("/once")).toEqual({ ...made, branch: null });
  expect(await repositories.update(made.id, { verify: [], agent: null })).toMatchObject({ verify: null, agent: null, plan: true });
  expect(await repositories.get(made.id)).toMatchObject({ branch: null, verify: null, agent: null });

  for (const [path, part] of [
    ["branch", { branch: "" }],
    ["branch", { branch: "a\0b" }],
    ["verify[0].kind", { verify: [{ run: "x" }] }],
    ["verify[0].run", { verify: [{ run: " ", kind: "test" }] }],
    ["agent", { agent: "No Name" }],
    ["agent", { agent: { name: "codex" } }],
  ] as const)
    for (const [method, place] of [
      ["PATCH", `/repositories/${made.id}`],
      ["POST", "/repositories"],
    ] as const) {
      const body = method === "POST" ? { repositoryUrl: "/refused", ...part } : part;
      const answer = await served.ask(method, place, { body });
      expect([body, answer]).toMatchObject([body, { status: 422, body: { code: "invalid_request", errors: [{ path }] } }]);
    }
  // An agent that there is none of is refused at once, and the repository is not made known for it.
  await expect(repositories.update(made.id, { agent: "nobody" })).rejects.toMatchObject({ code: "unknown_agent" });
  await expect(repositories.create({ repositoryUrl: "/refused", agent: "nobody" })).rejects.toMatchObject({ code: "unknown_agent" });
  expect((await repositories.list()).data.map((one) => one.repositoryUrl)).not.toContain("/refused");
});

test("nobody says anything, and nothing is given", async () => {
  const { run } = await settled("plain");
  expect(await run()).toMatchObject({ branch: "main", verify: [], agent: { name: null, profile: "builtin" }, givenFrom: {} });
});

test("the branch: the repository's where the run names none; one that is not there is refused, and whose name it is is said", async () => {
  const { repository, run, estimate } = await settled("branch", { branch: "next" });
  const update = (branch: string | null): Promise<Repository> => served.client.repositories.update(repository.id, { branch });
  expect(await run()).toMatchObject({ branch: "next", givenFrom: { branch: "repository" } });
  lookedAt.length = 0;
  expect(await run({ branch: "other" })).toMatchObject({ branch: "other", givenFrom: { branch: "run" } });
  expect(lookedAt).toEqual(["other"]);
  await update("gone");
  const refusal = { status: 422, code: "repository_not_usable" };
  const whose =
    /^There is no branch gone in \/branch; there is main\. The run names no branch, and the settings of its repository name gone: change that with `runyard repositories \/branch --branch NAME` or `--no-branch`, or name a branch for the run\.$/;
  for (const refused of [run, estimate])
    await expect(refused()).rejects.toMatchObject({ ...refusal, message: expect.stringMatching(whose) as string });
  await expect(run({ branch: "gone" })).rejects.toMatchObject({ ...refusal, message: "There is no branch gone in /branch; there is main" });
  // That nobody is there is not about the name.
  await update("away");
  await expect(run()).rejects.toMatchObject({ ...refusal, message: "Nobody is there" });
  await update(null);
  expect(await run()).toMatchObject({ branch: "main", givenFrom: {} });
});

test("what is verified: the repository's where the run says nothing; a run can have none", async () => {
  const { repository, run } = await settled("verify", { verify: [TEST, { run: "make", kind: "build", timeout: 5_000 }] });
  const all = [SHOWN, { run: "make", kind: "build", timeout: 5_000 }];
  expect(await run()).toMatchObject({ verify: all, verifyRetries: 1, givenFrom: { verify: "repository" } });
  expect(await run({ verifyRetries: 3 })).toMatchObject({ verify: all, verifyRetries: 3 });
  expect(await run({ verify: [] })).toMatchObject({ verify: [], givenFrom: { verify: "run" } });
  const own = { run: "make check", kind: "lint" as const };
  expect(await run({ verify: [own] })).toMatchObject({ verify: [{ ...own, timeout: 600_000 }], givenFrom: { verify: "run" } });
  const before = await run();
  await served.client.repositories.update(repository.id, { verify: null });
  expect(await run()).toMatchObject({ verify: [], givenFrom: {} });
  // A run keeps what it was created with.
  expect(await served.client.runs.get(before.id)).toMatchObject({ verify: all, givenFrom: { verify: "repository" } });
});

test("the agent: what one gets by default is what one gets that is named, to the last field", async () => {
  const { agents, secrets } = served.client;
  const { id } = await agents.create({
    name: "careful",
    profile: "codex",
    model: "agent-model",
    instructions: "Take care.",
    permissionPolicy: { ask: ["edit"] },
    environment: { FROM: "agent" },
    secrets: ["OF_AGENT"],
    mcpServers: [{ name: "docs", command: ["docs-server"] }],
    settings: {
      sandboxDriver: "bwrap",
      timeout: 60_000,
      maxRetries: 2,
      approvalAboveUsd: 0.5,
      egress: ["npm"],
      permissions: ["read", "execute"],
    },
    plan: true,
    budget: { tokens: 1_000 },
    dailyCapUsd: 5,
  });
  await secrets.set({ name: "OF_AGENT", value: "a decoy of a secret", agent: "careful" });
  const { repository, run, estimate } = await settled("agent");
  /** All but what tells one run from another. */
  const OWN = { id: "", number: 0, sandboxId: "", createdAt: "", updatedAt: "", givenFrom: {} };
  const bare = (one: Run): object => ({ ...one, ...OWN });
  const specOf = async (runId: string): Promise<object> => {
    const sql = "select agent_id, memory_bytes, spec::text from runyard.runs where id = $1";
    const [row] = await served.database.db.queryInOrganization<{ spec: string }>("org_a", sql, [runId]);
    const { givenFrom: _, ...spec } = JSON.parse(row?.spec ?? "") as Record<string, unknown>;
    return { ...row, spec };
  };
  const named = await run({ agent: { name: "careful" } });
  const estimated = await estimate({ agent: { name: "careful" } });
  expect(named).toMatchObject({ status: "awaiting_input", givenFrom: { agent: "run" }, secrets: ["OF_AGENT"], planFirst: true });
  expect(estimated).toMatchObject({ waitsFor: ["approval"] });
  // The controls: another agent is something else.
  expect(await run()).toMatchObject({ status: "pending", agent: { name: null }, secrets: [] });
  expect(await estimate()).toMatchObject({ waitsFor: [] });

  for (const agent of ["careful", id]) {
    await served.client.repositories.update(repository.id, { agent });
    const given = await run();
    expect(given.givenFrom).toEqual({ agent: "repository" });
    expect(bare(given)).toEqual(bare(named));
    expect(await specOf(given.id)).toEqual(await specOf(named.id));
    expect(await estimate()).toEqual(estimated);
  }
  // What the run says beside it counts as it does beside a name; and whose login is used names no agent: its budget counts.
  expect(await run({ model: "own-model", plan: false })).toMatchObject({
    agent: { name: "careful" },
    model: "own-model",
    planFirst: false,
  });
  await expect(run({ agent: { login: "own" } })).rejects.toMatchObject({ code: "budget_not_enforced" });
  // Whatever the run names itself comes first.
  for (const agent of [{ name: "builtin" }, { profile: "builtin" }])
    expect(await run({ agent })).toMatchObject({
      agent: { name: null, profile: "builtin" },
      givenFrom: { agent: "run" },
      instructions: null,
    });
  expect(await run({ agent: { command: ["a"] } })).toMatchObject({ agent: { profile: "custom" }, givenFrom: { agent: "run" } });

  // An id stays with its agent, a name with whoever has it.
  await agents.update(id, { name: "renamed" });
  expect(await run()).toMatchObject({ agent: { name: "renamed" } });
  await served.client.repositories.update(repository.id, { agent: "renamed" });
  await agents.delete("renamed");
  const whose =
    /^There is no agent "renamed"\. Known agents: .*\. The run names no agent, and the settings of its repository name renamed: change that with `runyard repositories \/agent --agent NAME` or `--no-agent`, or name an agent for the run\.$/;
  for (const refused of [run, estimate])
    await expect(refused()).rejects.toMatchObject({ status: 422, code: "unknown_agent", message: expect.stringMatching(whose) as string });
  expect(await run({ agent: { name: "builtin" } })).toMatchObject({ status: "pending" });
  await served.client.repositories.update(repository.id, { agent: null });
  expect(await run()).toMatchObject({ agent: { name: null, profile: "builtin" }, givenFrom: {} });
});

test("a profile may be the default too", async () => {
  const { run } = await settled("profile", { agent: "codex" });
  expect(await run()).toMatchObject({ agent: { name: null, profile: "codex" }, givenFrom: { agent: "repository" } });
});

test("a review gets neither the agent nor the branch nor the commands", async () => {
  await served.client.agents.create({ name: "reviewer", instructions: "You review." });
  const repositoryUrl = "https://github.com/acme/app.git";
  const { id } = await served.client.repositories.create({ repositoryUrl, branch: "gone", verify: [TEST], agent: "reviewer" });
  const ask = { task: "Look", repositoryUrl, review: { pullRequest: 7 } };
  const run = await served.client.runs.create(ask);
  expect(run).toMatchObject({ branch: "main", baseCommit: "c".repeat(40), verify: [], agent: { name: null }, givenFrom: {} });
  expect(await served.client.runs.estimate(ask)).toMatchObject({ basis: "task" });
  // The controls: what the run names it gets, and other runs get it.
  expect(await served.client.runs.create({ ...ask, agent: { name: "reviewer" } })).toMatchObject({ instructions: "You review." });
  await served.client.repositories.update(id, { branch: null });
  expect(await served.client.runs.create({ task: "Do it", repositoryUrl })).toMatchObject({
    verify: [SHOWN],
    agent: { name: "reviewer" },
    review: null,
  });
});
