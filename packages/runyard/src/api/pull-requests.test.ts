// What becomes of results, and pull requests of runs, over the real engine and a real PostgreSQL.
import type { CreateRunRequest, PullRequest, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { notePullRequest } from "../store/pull-requests.ts";
import { serve, type Served } from "./testing/served.ts";

const URL_ = "https://github.com/acme/app.git";
const PULL: PullRequest = {
  id: 1,
  number: 7,
  url: "https://github.com/acme/app/pull/7",
  title: "Fix it",
  state: "open",
  merged: false,
  draft: true,
  headBranchName: "runyard/x",
  baseBranchName: "main",
  createdAt: "2026-01-01T00:00:00.000Z",
};
let served: Served;
const edits: unknown[] = [];
beforeAll(async () => {
  served = await serve({
    githubHosts: ["ghe.example"],
    editPullRequest: async (at, change) => {
      edits.push([at, change]);
      const { state = PULL.state, draft = PULL.draft } = change;
      return { ...PULL, state, draft };
    },
  });
  await served.addToken("reader", { orgId: "org_a", scopes: ["agent:read", "agent:execute"] });
  await served.client.credentials.set({ kind: "token", url: "https://github.com/acme", token: "decoy of a token" });
});
afterAll(() => served?.close());

const create = (more: Partial<CreateRunRequest> = {}): Promise<Run> =>
  served.client.runs.create({ task: "Fix it", repositoryUrl: URL_, ...more });

test("a run gets what can be had, or what it asks for", async () => {
  expect(await create()).toMatchObject({ publish: "pull_request", pullRequest: {}, pullRequestUrl: null, githubPullRequests: [] });
  expect(await create({ pullRequest: { draft: true, labels: ["a"] } })).toMatchObject({ pullRequest: { draft: true, labels: ["a"] } });
  for (const publish of ["none", "branch"] as const) expect(await create({ publish })).toMatchObject({ publish, pullRequest: null });
  expect(await create({ settings: { permissions: ["repository:write"] } })).toMatchObject({ publish: "branch" });
  expect(await create({ settings: { permissions: ["repository:read"] } })).toMatchObject({ publish: "none" });
  for (const repositoryUrl of ["/repository", "https://gitlab.example/acme/app", "https://github.com/other/app"])
    expect(await create({ repositoryUrl })).toMatchObject({ publish: "branch", pullRequest: null });
});

test("what cannot be had is refused with the reason, and what is none with the field", async () => {
  const refusal = (more: Partial<CreateRunRequest>): Promise<unknown> => create(more).catch((error: unknown) => error);
  const code = "publish_not_possible";
  const publish = "pull_request";
  expect(await refusal({ publish, repositoryUrl: "/repository" })).toMatchObject({
    code,
    message: expect.stringContaining("on the server's machine") as unknown,
  });
  expect(await refusal({ publish, repositoryUrl: "https://gitlab.example/acme/app" })).toMatchObject({
    code,
    message: expect.stringContaining("RUNYARD_GITHUB_HOSTS") as unknown,
  });
  for (const repositoryUrl of ["https://ghe.example/acme/app", "https://github.com/other/app"])
    expect(await refusal({ publish, repositoryUrl })).toMatchObject({
      code,
      message: expect.stringContaining("runyard credentials add") as unknown,
    });
  expect(await refusal({ publish, settings: { permissions: ["repository:write"] } })).toMatchObject({ code });
  expect(await refusal({ publish: "branch", pullRequest: {} })).toMatchObject({ code });
  for (const pullRequest of [
    { title: "a\nb" },
    { title: " " },
    { labels: [""] },
    { reviewers: ["@ann"] },
    { reviewers: ["a/b/c"] },
    { colour: "red" },
  ])
    expect(await refusal({ pullRequest })).toMatchObject({ code: "invalid_request" });
});

test("a pull request is looked at and changed by whoever may write, and shown as it was found", async () => {
  const { id } = await create();
  const path = `/agent-runs/${id}/pull-request`;
  expect(await served.ask("POST", path)).toMatchObject({ status: 409, body: { code: "no_pull_request" } });
  const { db } = served.database;
  await db.inOrganization("org_a", (tx) => notePullRequest(tx, { id, orgId: "org_a" }, { ...PULL, draft: false }));
  expect(await served.client.runs.get(id)).toMatchObject({ pullRequestUrl: PULL.url, githubPullRequests: [{ draft: false }] });
  expect(await served.client.runs.pullRequest(id, { state: "closed" })).toEqual({ ...PULL, state: "closed" });
  const at = {
    place: { apiUrl: "https://api.github.com", owner: "acme", name: "app", tokenUrl: "https://github.com/acme/app" },
    token: "decoy of a token",
    number: 7,
  };
  expect(edits).toEqual([[at, { state: "closed" }]]);
  const [shown] = (await served.client.runs.list({ limit: 1 })).data;
  expect(shown?.githubPullRequests).toEqual([{ ...PULL, state: "closed" }]);

  for (const body of [{ state: "merged" }, { draft: "no" }, { title: "x" }])
    expect((await served.ask("POST", path, { body })).status).toBe(422);
  expect((await served.ask("POST", path, { token: "reader" })).status).toBe(403);
  expect((await served.ask("POST", path, { token: "nobody" })).status).toBe(401);
  expect((await served.ask("POST", path, { token: "token-b" })).status).toBe(404);
  expect(edits).toHaveLength(1);
});

test("what a run does not say, its repository does, and else its organization; what it got and from whom is kept", async () => {
  const { organization, repositories } = served.client;
  const { id } = await repositories.create(URL_);
  expect(await organization.get()).toMatchObject({ publish: null, pullRequest: null });
  const set = { publish: "branch", pullRequest: { draft: true, labels: ["org"], reviewers: ["ann"] } } as const;
  expect(await organization.update({ ...set, pullRequest: { ...set.pullRequest, labels: ["org"], reviewers: ["ann"] } })).toMatchObject(
    set,
  );
  try {
    expect(await create()).toMatchObject({ publish: "branch", publishFrom: { publish: "organization" }, pullRequest: null });
    expect(await repositories.update(id, { publish: "pull_request", pullRequest: { labels: ["repo"] } })).toMatchObject({
      publish: "pull_request",
      pullRequest: { labels: ["repo"] },
    });
    // What is left out stays.
    expect(await repositories.update(id, { plan: null })).toMatchObject({ publish: "pull_request", pullRequest: { labels: ["repo"] } });
    const run = await create({ pullRequest: { draft: false } });
    expect(run).toMatchObject({ publish: "pull_request", pullRequest: { draft: false, labels: ["repo"], reviewers: ["ann"] } });
    expect(run.publishFrom).toEqual({ publish: "run", draft: "run", labels: "repository", reviewers: "organization" });
    expect((await create()).publishFrom).toEqual({
      publish: "repository",
      draft: "organization",
      labels: "repository",
      reviewers: "organization",
    });
    // Runs that are there keep what they have.
    await repositories.update(id, { publish: "none", pullRequest: null });
    expect(await served.client.runs.get(run.id)).toEqual(run);
    expect(await create()).toMatchObject({ publish: "none", publishFrom: { publish: "repository" } });
    expect(await create({ publish: "branch" })).toMatchObject({ publish: "branch", publishFrom: { publish: "run" } });
    // Another organization has its own.
    expect((await served.ask("GET", "/organization", { token: "token-b" })).body).toMatchObject({ publish: null, pullRequest: null });
  } finally {
    await organization.update({ publish: null, pullRequest: null });
    await repositories.update(id, { publish: null, pullRequest: null });
  }
  expect(await create()).toMatchObject({ publish: "pull_request", publishFrom: {}, pullRequest: {} });
});

test("a default that cannot be had becomes a branch and a notice, and the run's own word is refused", async () => {
  const { id } = await served.client.repositories.create("/no-github");
  await served.client.repositories.update(id, { publish: "pull_request", pullRequest: { draft: true } });
  const run = await create({ repositoryUrl: "/no-github" });
  expect(run).toMatchObject({ publish: "branch", publishFrom: {}, pullRequest: null });
  const log = JSON.stringify((await served.ask("GET", `/agent-runs/${run.id}/logs`)).body);
  expect(log).toContain(
    "Its repository has publish: pull_request for runs that say nothing, and this one gets a branch. A pull request needs",
  );
  await expect(create({ repositoryUrl: "/no-github", publish: "pull_request" })).rejects.toMatchObject({ code: "publish_not_possible" });
  await expect(create({ repositoryUrl: "/no-github", pullRequest: { draft: true } })).rejects.toMatchObject({
    code: "publish_not_possible",
  });
});

test.each([
  [{ publish: "all" }, "publish"],
  [{ pullRequest: { title: "x" } }, "pullRequest.title"],
  [{ pullRequest: { labels: ["a\nb"] } }, "pullRequest.labels[0]"],
  [{ pullRequest: { reviewers: ["a b"] } }, "pullRequest.reviewers[0]"],
])("the default %j is refused, and said where", async (body, at) => {
  for (const place of ["/organization", `/repositories/${(await served.client.repositories.create("/bad")).id}`]) {
    const answer = await served.ask("PATCH", place, { body });
    expect(answer).toMatchObject({ status: 422, body: { code: "invalid_request" } });
    expect(JSON.stringify(answer.body["errors"])).toContain(`"path":"${at}"`);
  }
});
