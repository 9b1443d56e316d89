import { expect, test } from "vitest";
import { joinPullRequest, type PublishDefault, publishDefault } from "./publish-defaults.ts";

const ofRepository: PublishDefault = { from: "repository", publish: null, pullRequest: { labels: ["a"], draft: false } };
const ofOrganization: PublishDefault = {
  from: "organization",
  publish: "branch",
  pullRequest: { draft: true, labels: ["b"], reviewers: ["ann"] },
};

test("the nearest one that says something counts", () => {
  expect(publishDefault([])).toBeNull();
  expect(publishDefault([ofRepository])).toBeNull();
  expect(publishDefault([ofRepository, ofOrganization])).toEqual({ mode: "branch", from: "organization" });
  expect(publishDefault([{ ...ofRepository, publish: "none" }, ofOrganization])).toEqual({ mode: "none", from: "repository" });
});

test("each field is that of the nearest one that says it, and nothing is added up", () => {
  expect(joinPullRequest({}, [])).toEqual({ settings: {}, from: {} });
  expect(joinPullRequest({ title: "T", labels: [] }, [ofRepository, ofOrganization])).toEqual({
    settings: { title: "T", labels: [], draft: false, reviewers: ["ann"] },
    from: { labels: "run", draft: "repository", reviewers: "organization" },
  });
  expect(joinPullRequest({ draft: true }, [{ ...ofOrganization, pullRequest: null }])).toEqual({
    settings: { draft: true },
    from: { draft: "run" },
  });
});
