// Runs that review pull requests, as they are created, over the real engine and a real PostgreSQL.
import { setTimeout as sleep } from "node:timers/promises";
import type { CreateRunRequest, Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serve, type Served } from "./testing/served.ts";

const REPOSITORY = "https://github.com/acme/app.git";
describe.skipIf(!process.env["RUNYARD_TEST_FULL"])("reviews, in the full tests", () => {
  let served: Served;
  beforeAll(async () => {
    served = await serve();
    await served.client.credentials.set({ kind: "token", url: "https://github.com/acme", token: "decoy of a token" });
  });
  afterAll(() => served?.close());

  const create = (more: Partial<CreateRunRequest> = {}): Promise<Run> =>
    served.client.runs.create({ task: "Look", repositoryUrl: REPOSITORY, review: { pullRequest: 7 }, ...more });
  const refusal = (more: Partial<CreateRunRequest>): Promise<unknown> => create(more).catch((error: unknown) => error);

  test("a review starts from the head, publishes nothing, and is given nothing that its pull request could take", async () => {
    const { repositories, secrets } = served.client;
    const { id } = await repositories.create(REPOSITORY);
    await secrets.set({ name: "NPM_TOKEN", value: "a decoy of a secret" });
    await repositories.update(id, {
      environment: { NODE_ENV: "test" },
      secrets: ["NPM_TOKEN"],
      setup: { commands: ["npm ci"], cacheKey: "v1" },
      publish: "pull_request",
      checks: { watch: true },
    });
    const run = await create({ environment: { OWN: "1" } });
    expect(run).toMatchObject({
      baseCommit: "c".repeat(40),
      branch: "main",
      review: { url: "https://github.com/acme/app/pull/7", number: 7, event: "comment", headCommit: "c".repeat(40), fork: false },
      publish: "none",
      pullRequest: null,
      checks: null,
      setup: null,
      secrets: [],
      environment: { OWN: "1" },
    });
    expect(await create({ review: { pullRequest: "https://GitHub.com/Acme/app/pull/7/files", event: "approve" } })).toMatchObject({
      review: { number: 7, event: "approve" },
    });
    expect(await create({ secrets: ["NPM_TOKEN"] })).toMatchObject({ secrets: ["NPM_TOKEN"] });
    expect(await create({ review: undefined })).toMatchObject({ review: null, secrets: ["NPM_TOKEN"], publish: "pull_request" });
  });

  test.each([
    [{ settings: { permissions: ["pull_request:create"] } }, "pull_request:review"],
    [{ branch: "main" }, "leave the branch out"],
    [{ publish: "branch" }, "publishes nothing but its review"],
    [{ pullRequest: { draft: true } }, "publishes nothing but its review"],
    [{ watchChecks: true }, "publishes nothing but its review"],
    [{ setup: { commands: ["make"] } }, "no set-up"],
    [{ verify: [{ run: "make", kind: "test" }] }, "no set-up"],
    [{ repositories: [{ repositoryUrl: "/other" }] }, "no further repositories"],
    [{ repositoryUrl: "/repository" }, "at GitHub servers only"],
    [{ repositoryUrl: "https://github.com/other/app" }, "runyard credentials add"],
    [{ review: { pullRequest: "https://github.com/other/app/pull/7" } }, "not one of the run's repository"],
    [{ review: { pullRequest: "https://github.com/acme/app" } }, "looks like"],
  ] as const)("%j is refused when it is created", async (more, words) => {
    expect(await refusal(more as Partial<CreateRunRequest>)).toMatchObject({
      code: "review_not_possible",
      status: 422,
      message: expect.stringContaining(words) as string,
    });
  });

  test.each([{}, { pullRequest: 0 }, { pullRequest: "7" }, { pullRequest: 7, event: "merge" }, { pullRequest: 7, body: "x" }])(
    "%j is no review",
    async (review) => expect(await refusal({ review: review as never })).toMatchObject({ code: "invalid_request" }),
  );

  test("one whose agents are stopped is not reviewed before it is allowed, and a stop ends its reviews", async () => {
    const { pullRequests, runs } = served.client;
    const { id } = await create();
    const { cancelled, url } = await pullRequests.stop(id);
    expect(cancelled).toContain(id);
    expect(await runs.get(id)).toMatchObject({ status: "cancelled", pullRequestStop: { url } });
    expect(await refusal({})).toMatchObject({ code: "pull_request_stopped" });
    await expect(runs.continue(id, "Again")).rejects.toMatchObject({ code: "pull_request_stopped" });
    expect(await runs.continue(id, "Again", { allowPullRequest: true })).toMatchObject({ status: "pending", turn: 2 });
  });

  test("one that is created while its pull request is being stopped does not begin", async () => {
    const { db } = served.database;
    const address = "https://github.com/acme/app/pull/8";
    // Whoever stops has the organization's row, and the create has looked before that and waits for it.
    const creating = await db.inOrganization("org_a", async (tx) => {
      await tx.query("select 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update");
      const refused = refusal({ review: { pullRequest: 8 } });
      const waits =
        "select 1 from pg_locks w join pg_locks h using (transactionid) where not w.granted and h.granted and h.pid = pg_backend_pid()";
      while ((await tx.query(waits)).length === 0) await sleep(10);
      await tx.query("select runyard.stop_pull_request($1, $1, 'user_org_a', 'stopped', '{}', '{}')", [address]);
      return { refused };
    });
    expect(await creating.refused).toMatchObject({ code: "pull_request_stopped", message: expect.stringContaining(address) as string });
    await served.client.pullRequests.allow(address);
    expect(await create({ review: { pullRequest: 8 } })).toMatchObject({ status: "pending", review: { number: 8 } });
  });
});
