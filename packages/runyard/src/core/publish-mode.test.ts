import { RUN_PERMISSIONS, type RunPermission } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { decidePublish, type PublishWish } from "./publish-mode.ts";

const decide = (wish: Partial<PublishWish>) =>
  decidePublish({
    asked: null,
    asksForPullRequest: false,
    byDefault: null,
    granted: RUN_PERMISSIONS,
    place: "github",
    hasToken: true,
    ...wish,
  });
const without = (...names: RunPermission[]) => RUN_PERMISSIONS.filter((one) => !names.includes(one));

test("a run that asks for nothing gets what can be had", () => {
  const nobody = { from: null, notice: null };
  expect(decide({})).toEqual({ mode: "pull_request", ...nobody });
  for (const wish of [
    { hasToken: false },
    { place: "remote" as const },
    { place: "local" as const },
    { granted: without("pull_request:create") },
  ])
    expect(decide(wish)).toEqual({ mode: "branch", ...nobody });
  expect(decide({ granted: without("repository:write") })).toEqual({ mode: "none", ...nobody });
});

test("a run that asks for something gets that", () => {
  const byRun = { from: "run", notice: null };
  // Whatever holds for runs that do not.
  const byDefault = { mode: "branch", from: "organization" } as const;
  for (const asked of ["none", "branch", "pull_request"] as const) expect(decide({ asked, byDefault })).toEqual({ mode: asked, ...byRun });
  expect(decide({ asked: "none", granted: without("repository:write") })).toEqual({ mode: "none", ...byRun });
  expect(decide({ asksForPullRequest: true, byDefault })).toEqual({ mode: "pull_request", ...byRun });
});

test("a default counts for runs that ask for nothing, as far as it can be had", () => {
  for (const mode of ["none", "branch", "pull_request"] as const)
    expect(decide({ byDefault: { mode, from: "repository" } })).toEqual({ mode, from: "repository", notice: null });
  const byDefault = { mode: "pull_request", from: "repository" } as const;
  expect(decide({ byDefault, hasToken: false })).toEqual({
    mode: "branch",
    from: null,
    notice: expect.stringMatching(/^Its repository has publish: pull_request .* gets a branch\. There is no token/) as string,
  });
  expect(decide({ byDefault, granted: without("repository:write") })).toMatchObject({ mode: "none", from: null });
  expect(decide({ byDefault: { mode: "branch", from: "organization" }, granted: without("repository:write") })).toEqual({
    mode: "none",
    from: null,
    notice: expect.stringMatching(
      /^Its organization has publish: branch .* publishes nothing\. It is not granted repository:write\.$/,
    ) as string,
  });
});

test.each([
  [{ asked: "pull_request", place: "local" }, /on the server's machine/],
  [{ asked: "pull_request", place: "remote" }, /RUNYARD_GITHUB_HOSTS/],
  [{ asked: "pull_request", granted: without("pull_request:create") }, /pull_request:create/],
  [{ asked: "pull_request", granted: without("repository:write") }, /repository:write/],
  [{ asked: "pull_request", hasToken: false }, /runyard credentials add/],
  [{ asksForPullRequest: true, hasToken: false }, /runyard credentials add/],
  [{ asked: "none", asksForPullRequest: true }, /leave one of them out/],
  [{ asked: "branch", granted: without("repository:write") }, /publish: none/],
] as const)("%j is refused", (wish, words) => {
  expect(decide(wish)).toEqual({ refusal: expect.stringMatching(words) as string });
});
