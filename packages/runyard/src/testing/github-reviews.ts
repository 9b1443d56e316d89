import { z } from "zod";
import { type FakeRoute, Refusal } from "./github.ts";

/** A pull request that somebody else has opened. Their numbers are from 700 to 799, so that they are told from those of runs. */
export interface FakeProposal {
  readonly number: number;
  readonly title: string;
  readonly body: string | null;
  readonly base: string;
  readonly head: string;
  /** Whether it comes from another repository; null: that is gone by now. */
  readonly fork: boolean | null;
  readonly files: readonly { readonly filename: string; readonly additions: number; readonly deletions: number }[];
}

export interface FakeReview {
  readonly id: number;
  readonly number: number;
  readonly event: string;
  readonly commit: string;
  readonly body: string;
}

export interface FakeReviews {
  readonly proposals: FakeProposal[];
  readonly reviews: FakeReview[];
  readonly routes: readonly FakeRoute[];
}

/** What GitHub documents of the body of a review; more is refused, so that a mistake in a name shows. */
const reviewBody = z.strictObject({
  commit_id: z.string().regex(/^[0-9a-f]{40}$/),
  event: z.enum(["COMMENT", "APPROVE", "REQUEST_CHANGES"]),
  body: z.string().min(1).max(65_536),
});

/** The part of the fake that has pull requests of others, and reviews of them. */
export function fakeReviews(): FakeReviews {
  const proposals: FakeProposal[] = [];
  const reviews: FakeReview[] = [];
  const find = (number: string | undefined): FakeProposal => {
    const found = proposals.find((one) => one.number === Number(number));
    if (found === undefined) throw new Refusal(404, "Not Found");
    return found;
  };
  const page = (query: URLSearchParams): [number, number] => {
    const [size, at] = [Number(query.get("per_page") ?? 30), Number(query.get("page") ?? 1)];
    if (!(size >= 1 && size <= 100 && at >= 1)) throw new Refusal(422, "Unexpected page");
    return [(at - 1) * size, at * size];
  };
  const show = ({ id, number, body, commit }: FakeReview): unknown => ({
    id,
    body,
    commit_id: commit,
    html_url: `https://github.example/acme/app/pull/${number}#pullrequestreview-${id}`,
  });
  const sum = (pull: FakeProposal, what: "additions" | "deletions"): number => pull.files.reduce((all, file) => all + file[what], 0);
  const routes: FakeRoute[] = [
    [
      /^GET \/pulls\/(7\d\d)$/,
      ([, number]) => {
        const pull = find(number);
        const data = {
          number: pull.number,
          html_url: `https://github.example/acme/app/pull/${pull.number}`,
          title: pull.title,
          body: pull.body,
          head: { sha: pull.head, ref: "patch-1", repo: pull.fork === null ? null : { full_name: pull.fork ? "eve/app" : "acme/app" } },
          base: { sha: pull.base, ref: "main", repo: { full_name: "acme/app" } },
          changed_files: pull.files.length,
          additions: sum(pull, "additions"),
          deletions: sum(pull, "deletions"),
        };
        return { status: 200, data };
      },
    ],
    [/^GET \/pulls\/(7\d\d)\/files$/, ([, number], query) => ({ status: 200, data: find(number).files.slice(...page(query)) })],
    [
      /^GET \/pulls\/(7\d\d)\/reviews$/,
      ([, number], query) => {
        const { number: of } = find(number);
        const all = reviews.filter((review) => review.number === of);
        return { status: 200, data: all.slice(...page(query)).map(show) };
      },
    ],
    [
      /^POST \/pulls\/(7\d\d)\/reviews$/,
      ([, number], _, body) => {
        const wish = reviewBody.safeParse(body);
        if (!wish.success) throw new Refusal(422, "Invalid request.", [z.prettifyError(wish.error)]);
        const { commit_id: commit, event, body: text } = wish.data;
        const review: FakeReview = { id: reviews.length + 1, number: find(number).number, event, commit, body: text };
        reviews.push(review);
        return { status: 200, data: show(review) };
      },
    ],
  ];
  return { proposals, reviews, routes };
}
