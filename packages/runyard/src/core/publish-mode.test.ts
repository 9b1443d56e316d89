import { RUN_PERMISSIONS, type RunPermission } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { decidePublish, type PublishWish } from "./publish-mode.ts";

const decide = (wish: Partial<PublishWish>) =>
  decidePublish({ asked: null, asksForPullRequest: false, granted: RUN_PERMISSIONS, place: "github", hasToken: true, ...wish });
const without = (...names: RunPermission[]) => RUN_PERMISSIONS.filter((one) => !names.includes(one));

test("a run that asks for nothing gets what can be had", () => {
  expect(decide({})).toEqual({ mode: "pull_request" });
  for (const wish of [
    { hasToken: false },
    { place: "remote" as const },
    { place: "local" as const },
    { granted: without("pull_request:create") },
  ])
    expect(decide(wish)).toEqual({ mode: "branch" });
  expect(decide({ granted: without("repository:write") })).toEqual({ mode: "none" });
});

test("a run that asks for something gets that", () => {
  for (const asked of ["none", "branch", "pull_request"] as const) expect(decide({ asked })).toEqual({ mode: asked });
  expect(decide({ asked: "none", granted: without("repository:write") })).toEqual({ mode: "none" });
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
