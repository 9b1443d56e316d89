// The fake of GitHub is held to what GitHub publishes: what it is asked wrongly it refuses, and what it would say wrongly fails.
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeGithub, type FakeRoute, startFakeGithub } from "./github.ts";
import { githubOperation } from "./github-openapi.ts";

const PULL = { title: "Fix it", head: "runyard/run_1", base: "main", body: "", draft: false };
let fake: FakeGithub;
const odd: FakeRoute = [/^GET \/odd$/, () => ({ status: 200, data: {} })];
beforeEach(async () => {
  fake = await startFakeGithub({ token: "decoy", repository: "acme/app", more: [odd] });
});
afterEach(() => fake.close());

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  const headers = { authorization: "Bearer decoy", "x-github-api-version": "2022-11-28", "user-agent": "test" };
  const sent =
    body === undefined ? { headers } : { headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(`${fake.url}/api/v3/repos/acme/app${path}`, { method, ...sent });
  return { status: answer.status, text: await answer.text() };
}

test("what GitHub describes is answered with all that is always there", async () => {
  const made = await ask("POST", "/pulls", PULL);
  expect(made.status).toBe(201);
  expect(JSON.parse(made.text)).toMatchObject({ number: 1, draft: false, mergeable: null, user: { login: "x" } });
  expect((await ask("GET", "/pulls?head=acme:runyard/run_1&state=all&per_page=100")).status).toBe(200);
});

test.each([
  ["POST", "/pulls", { ...PULL, colour: "red" }, /additional properties \(colour\)/],
  ["POST", "/pulls", { ...PULL, draft: "yes" }, /\/draft must be boolean/],
  ["POST", "/pulls", { title: "Fix it" }, /must have required property 'head'/],
  ["POST", "/pulls", undefined, /the body is missing/],
  ["PATCH", "/pulls/1", { draft: true }, /additional properties \(draft\)/],
  ["PATCH", "/pulls/1", { state: "merged" }, /must be equal to one of the allowed values/],
  ["GET", "/pulls?head=acme:x&colour=red", undefined, /colour, which is not known/],
  ["GET", "/pulls?state=merged", undefined, /state must be equal to one of the allowed values/],
  ["GET", "/pulls?per_page=many", undefined, /per_page must be integer/],
  ["POST", "/issues/1/labels", { labels: [] }, /must NOT have fewer than 1 items/],
  ["POST", "/issues/one/labels", { labels: ["a"] }, /issue_number must be integer/],
] as const)("%s %s %j is refused", async (method, path, body, why) => {
  expect(await ask(method, path, body)).toMatchObject({ status: 422, text: expect.stringMatching(why) as string });
  expect(fake.pulls).toEqual([]);
});

test("what GitHub does not describe is not there, also where the fake has an answer", async () => {
  expect((await ask("GET", "/odd")).status).toBe(404);
  expect((await ask("DELETE", "/pulls/1")).status).toBe(404);
});

test("an answer that GitHub would not give is a fault of the fake", () => {
  const operation = githubOperation({ method: "GET", path: "/repos/acme/app/commits/abc/status" });
  const data = { sha: "abc", state: "pending", total_count: 0, statuses: [] };
  expect(operation?.answer(200, data)).toMatchObject({ ...data, repository: { name: "x" } });
  for (const [status, wrong, why] of [
    [200, { ...data, colour: "red" }, /additional properties \(colour\)/],
    [200, { ...data, total_count: "none" }, /\/total_count must be integer/],
    [200, { ...data, statuses: [{ colour: "red" }] }, /\/statuses\/0 must NOT have additional properties/],
    [201, data, /describes no answer 201/],
  ] as const)
    expect(() => operation?.answer(status, wrong)).toThrow(why);
});
