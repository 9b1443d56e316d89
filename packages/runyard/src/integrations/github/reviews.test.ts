import { afterEach, beforeEach, expect, test } from "vitest";
import type { ReviewEffect } from "../../core/review.ts";
import type { TryResult } from "../../engine/outbox.ts";
import type { EffectRow } from "../../store/outbox.ts";
import { openRepositoryProxy } from "../../gateway/repository-proxy.ts";
import { type FakeGithub, startFakeGithub } from "../../testing/github.ts";
import { type FakeReviews, fakeReviews } from "../../testing/github-reviews.ts";
import { fetchByWay } from "../fetch-by-way.ts";
import { readPullRequest, reviewPerformer } from "./reviews.ts";

const TOKEN = "ghp_canary";
const MARK = "<!-- runyard:run_1:review-1 -->";
const pull = { number: 700, title: "T", body: null, base: "b".repeat(40), head: "c".repeat(40), fork: false, files: [] };
let fake: FakeGithub;
let reviews: FakeReviews;
beforeEach(async () => {
  reviews = fakeReviews();
  reviews.proposals.push(pull);
  fake = await startFakeGithub({ token: TOKEN, repository: "acme/app", more: reviews.routes });
});
afterEach(() => fake.close());

const place = () => ({ apiUrl: `${fake.url}/api/v3`, owner: "acme", name: "app", tokenUrl: `${fake.url}/acme/app` });
const read = (number: number) => readPullRequest({ repository: place(), token: TOKEN, fetch, now: Date.now }, number);

function attempt(token: string | null = TOKEN, how: typeof fetch = fetch): Promise<TryResult> {
  const payload: ReviewEffect = { place: place(), number: 700, commit: pull.head, event: "comment", body: `${MARK}\n\nFine.`, mark: MARK };
  const effect = { org_id: "org_a", run_id: "run_1", payload } as unknown as EffectRow;
  const performer = reviewPerformer({ tokenFor: async () => token, fetchWith: () => how, now: Date.now });
  return performer.perform(effect, new AbortController().signal);
}

test("a pull request is read with what it changes, and whose it is", async () => {
  const files = [{ filename: "a", additions: 2, deletions: 1 }];
  reviews.proposals.push({ ...pull, number: 701, fork: true, files, body: "B" }, { ...pull, number: 702, fork: null });
  expect(await read(701)).toEqual({
    url: "https://github.example/acme/app/pull/701",
    number: 701,
    title: "T",
    body: "B",
    baseBranch: "main",
    baseCommit: pull.base,
    headCommit: pull.head,
    fork: true,
    filesChanged: 1,
    insertions: 2,
    deletions: 1,
    files: [{ path: "a", insertions: 2, deletions: 1 }],
  });
  expect(await read(700)).toMatchObject({ fork: false, body: "" });
  expect(await read(702)).toMatchObject({ fork: true });
  await expect(read(799)).rejects.toMatchObject({
    code: "review_not_possible",
    message: expect.stringContaining("Pull request 799") as string,
  });
  fake.fail({ on: "GET /pulls/700", answer: { status: 502 } });
  await expect(read(700)).rejects.toMatchObject({ code: "unavailable" });
});

test("what its author wrote can be stored, whatever it is", async () => {
  const files = [{ filename: "a\0\udc00b", additions: 1, deletions: 0 }];
  reviews.proposals.push({ ...pull, number: 703, title: "T\0\ud800", body: "one\0two \ud83d, \ud83d\ude42", files });
  const found = await read(703);
  expect(found).toMatchObject({ title: "T\ufffd\ufffd", body: "one\ufffdtwo \ufffd, \ud83d\ude42", files: [{ path: "a\ufffd\ufffdb" }] });
});

test("it is posted once, however many others there are", async () => {
  for (let id = 1; id <= 130; id += 1) reviews.reviews.push({ id, number: 700, event: "COMMENT", commit: pull.head, body: `says ${MARK}` });
  expect(await attempt()).toEqual({ type: "done", outcome: { url: "https://github.example/acme/app/pull/700#pullrequestreview-131" } });
  expect(await attempt()).toEqual({ type: "done", outcome: { url: "https://github.example/acme/app/pull/700#pullrequestreview-131" } });
  expect(reviews.reviews).toHaveLength(131);
});

test("others who say as much as they may do not keep it from being posted", async () => {
  const body = "\u{1f600}".repeat(65_536);
  for (let id = 1; id <= 45; id += 1) reviews.reviews.push({ id, number: 700, event: "COMMENT", commit: pull.head, body });
  const proxy = await openRepositoryProxy({ allowed: [new URL(fake.url).host] });
  const { signal } = new AbortController();
  const guarded = fetchByWay({ openWay: (target) => proxy.admit(target), extraCertificates: null, signal });
  try {
    for (let tries = 1; tries <= 2; tries += 1)
      expect(await attempt(TOKEN, guarded)).toMatchObject({ type: "done", outcome: { url: expect.stringMatching(/-46$/) as string } });
  } finally {
    await proxy.close();
  }
});

test("what cannot be had is told by its kind", async () => {
  expect(await attempt(null)).toMatchObject({ type: "never", problem: { code: "no-credential" } });
  fake.fail({ on: "POST /reviews", answer: { status: 403, message: "Resource not accessible by personal access token" } });
  expect(await attempt()).toMatchObject({ type: "never", problem: { code: "not-allowed" } });
  fake.fail({ on: "POST /reviews", answer: { status: 502 } });
  expect(await attempt()).toMatchObject({ type: "later" });
});
