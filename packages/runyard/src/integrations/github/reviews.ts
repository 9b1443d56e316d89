import type { ReviewEvent } from "@runyard/sdk/contract";
import { z } from "zod";
import type { PullRequestToReview, ReviewEffect } from "../../core/review.ts";
import { githubRefused } from "../../engine/github-refused.ts";
import type { Performer } from "../../engine/outbox.ts";
import { type GithubClientOptions, githubCalls, pageSchema } from "./client.ts";
import { githubPerformer, type GithubPerformerOptions } from "./performer.ts";

/** Of what GitHub says of pull requests and reviews, what is used here (REST, version 2022-11-28). */
const commitSchema = z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/);
const repositorySchema = z.object({ full_name: z.string() });
const pullSchema = z.object({
  number: z.number().int(),
  html_url: pageSchema,
  title: z.string(),
  body: z.string().nullable(),
  // Of a fork that is gone by now nothing is known.
  head: z.object({ sha: commitSchema, repo: repositorySchema.nullable() }),
  base: z.object({ sha: commitSchema, ref: z.string(), repo: repositorySchema }),
  changed_files: z.number().int(),
  additions: z.number().int(),
  deletions: z.number().int(),
});
const filesSchema = z.array(z.object({ filename: z.string(), additions: z.number().int(), deletions: z.number().int() }));
const reviewSchema = z.object({ id: z.number().int(), html_url: pageSchema, body: z.string().nullish() });

const PAGE = 100;
/** Of reviews fewer: whoever may comment can make each as long as GitHub takes, and a page is read whole. */
const REVIEWS_PAGE = 20;
/** Most pages of them that are looked through. */
const MOST_PAGES = 250;
const EVENTS: Readonly<Record<ReviewEvent, string>> = { comment: "COMMENT", approve: "APPROVE", request_changes: "REQUEST_CHANGES" };

type At = { readonly number: number };

/** The calls of GitHub's API that reviews take. Each rejects with GithubError. */
function createGithubReviews(options: GithubClientOptions) {
  const { owner, name: repo } = options.repository;
  const { call, ask } = githubCalls(options);
  return {
    async read({ number }: At): Promise<PullRequestToReview> {
      const at = { owner, repo, pull_number: number };
      const pull = await ask(pullSchema, call("GET /repos/{owner}/{repo}/pulls/{pull_number}", at));
      const files = await ask(filesSchema, call("GET /repos/{owner}/{repo}/pulls/{pull_number}/files", { ...at, per_page: PAGE }));
      return {
        url: pull.html_url,
        number: pull.number,
        title: pull.title,
        body: pull.body ?? "",
        baseBranch: pull.base.ref,
        baseCommit: pull.base.sha,
        headCommit: pull.head.sha,
        fork: pull.head.repo?.full_name !== pull.base.repo.full_name,
        filesChanged: pull.changed_files,
        insertions: pull.additions,
        deletions: pull.deletions,
        files: files.map(({ filename: path, additions: insertions, deletions }) => ({ path, insertions, deletions })),
      };
    },
    /** The review with this mark; undefined: there is none. */
    async find({ number, mark }: At & { readonly mark: string }): Promise<{ readonly url: string } | undefined> {
      const route = "GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews";
      for (let page = 1; page <= MOST_PAGES; page += 1) {
        const found = await ask(z.array(reviewSchema), call(route, { owner, repo, pull_number: number, per_page: REVIEWS_PAGE, page }));
        const mine = found.find(({ body }) => body?.startsWith(mark));
        if (mine !== undefined) return { url: mine.html_url };
        if (found.length < REVIEWS_PAGE) return undefined;
      }
      return undefined;
    },
    async post({ number, commit, event, body }: Omit<ReviewEffect, "place" | "mark">): Promise<{ readonly url: string }> {
      const route = "POST /repos/{owner}/{repo}/pulls/{pull_number}/reviews";
      const wish = { owner, repo, pull_number: number, commit_id: commit, event: EVENTS[event] as "COMMENT", body };
      return { url: (await ask(reviewSchema, call(route, wish))).html_url };
    },
  };
}

/** A pull request before it is reviewed. Throws RunyardError `review_not_possible` or `unavailable`. */
export async function readPullRequest(options: GithubClientOptions, number: number): Promise<PullRequestToReview> {
  return createGithubReviews(options)
    .read({ number })
    .catch((error: unknown) => {
      throw githubRefused(error, "review_not_possible", `Pull request ${number} cannot be read: `);
    });
}

/** Does effects of the kind `REVIEW_EFFECT`: looks before it posts, so that a turn has one review. */
export function reviewPerformer(options: GithubPerformerOptions): Performer {
  return githubPerformer(options, async (at, { payload }) => {
    const wish = payload as ReviewEffect;
    const client = createGithubReviews(at);
    return { outcome: (await client.find(wish)) ?? (await client.post(wish)) };
  });
}
