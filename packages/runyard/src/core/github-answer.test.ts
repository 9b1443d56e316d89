import { expect, test } from "vitest";
import { GithubError, type GithubRefusal, judgeAnswer, judgeForeign, judgeRefusedAddress, judgeSilence } from "./github-answer.ts";

const judge = (refusal: Partial<GithubRefusal>) =>
  judgeAnswer({ status: 500, headers: {}, message: "", errors: [], ...refusal }, { host: "api.github.com", nowMs: 1_000_000 });

test.each([
  [{ status: 401, message: "Bad credentials" }, "not-authenticated"],
  [{ status: 403, message: "Resource not accessible by personal access token" }, "not-allowed"],
  [{ status: 404, message: "Not Found" }, "not-found"],
  [{ status: 301, message: "Moved Permanently" }, "moved"],
  [{ status: 422, message: "Validation Failed", errors: ["No commits between main and x"] }, "nothing-to-merge"],
  [{ status: 422, message: "Validation Failed", errors: ["base invalid"] }, "base-gone"],
  [{ status: 422, message: "Validation Failed", errors: ["head invalid"] }, "refused"],
  [{ status: 403, message: "Repository was archived so is read-only." }, "archived"],
  [{ status: 400, message: "Problems parsing JSON" }, "refused"],
])("%j stays so", (refusal, code) => {
  expect(judge(refusal)).toMatchObject({ type: "never", problem: { code } });
});

test.each([
  [{ status: 429, headers: { "retry-after": "7" } }, 7_000, "rate-limited"],
  [{ status: 429 }, null, "rate-limited"],
  [{ status: 403, headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1060" } }, 60_000, "rate-limited"],
  [{ status: 403, headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1" } }, 0, "rate-limited"],
  [{ status: 403, headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon" } }, null, "rate-limited"],
  [{ status: 403, headers: { "x-ratelimit-remaining": "0" } }, null, "rate-limited"],
  [{ status: 403, message: "You have exceeded a secondary rate limit" }, null, "rate-limited"],
  [{ status: 403, headers: { "retry-after": "soon" } }, null, "rate-limited"],
  [{ status: 429, headers: { "retry-after": "-7" } }, null, "rate-limited"],
  // A year: whoever asks again in a second has not listened.
  [{ status: 429, headers: { "retry-after": "31536000" } }, 31_536_000_000, "rate-limited"],
  [{ status: 500 }, null, "unavailable"],
  [{ status: 503, headers: { "retry-after": "2" } }, 2_000, "unavailable"],
  [{ status: 408 }, null, "unavailable"],
  [{ status: 409, message: "Merge conflict" }, null, "unavailable"],
])("%j may pass", (refusal, retryAfterMs, code) => {
  expect(judge(refusal)).toMatchObject({ type: "later", retryAfterMs, problem: { code } });
});

test("that there is one already means that somebody was faster", () => {
  expect(judge({ status: 422, message: "Validation Failed", errors: ["A pull request already exists for acme:x."] })).toEqual({
    type: "exists",
  });
});

test("what GitHub said is quoted on one line", () => {
  expect(judge({ status: 401, message: "Bad\n\u001b[31mcredentials" })).toMatchObject({
    problem: { message: "GitHub answered 401: Bad [31mcredentials. Give api.github.com another credential: `runyard credentials add`." },
  });
  expect(judge({ status: 500 })).toMatchObject({ problem: { message: "GitHub answered 500." } });
});

test("no answer, and one that is none of GitHub's", () => {
  expect(judgeSilence("socket hang up", "ghe.example.com")).toEqual({
    type: "later",
    retryAfterMs: null,
    problem: { code: "unavailable", message: "ghe.example.com could not be reached: socket hang up." },
  });
  expect(judgeRefusedAddress("its address is not public", "ghe.example.com")).toMatchObject({
    type: "never",
    problem: {
      code: "address-refused",
      message: expect.stringMatching(/^ghe\.example\.com is not called: its address is not public\. .*HOSTS/) as string,
    },
  });
  expect(judgeForeign("git.example.com")).toMatchObject({ type: "never", problem: { code: "not-github" } });
});

test("an error says what it was", () => {
  expect(new GithubError(judge({ status: 500 }))).toMatchObject({ name: "GithubError", message: "GitHub answered 500." });
  expect(new GithubError({ type: "exists" }).message).toBe("There is such a pull request already");
});
