import { CHECK_CONCLUSIONS, type CheckConclusion } from "@runyard/sdk/contract";
import { z } from "zod";
import type { SeenCheck } from "../../core/checks.ts";
import type { CheckAnnotation, FailedCheck } from "../../core/checks-feedback.ts";
import { type GithubClientOptions, GithubError, githubCalls } from "./client.ts";

/** Of what GitHub says of check runs and statuses, what is used here (REST, version 2022-11-28). */
const checkRunSchema = z.object({
  id: z.number().int(),
  name: z.string(),
  head_sha: z.string(),
  status: z.string(),
  conclusion: z.string().nullable(),
  html_url: z.string().nullable(),
  details_url: z.string().nullish(),
  check_suite: z.object({ id: z.number().int() }).nullable(),
  app: z.object({ slug: z.string().optional() }).nullable(),
  output: z.object({
    title: z.string().nullable(),
    summary: z.string().nullable(),
    annotations_count: z.number().int(),
  }),
});
const checkRunsSchema = z.object({ total_count: z.number().int(), check_runs: z.array(checkRunSchema) });
const statusSchema = z.object({
  id: z.number().int(),
  context: z.string(),
  state: z.enum(["error", "failure", "pending", "success"]),
  target_url: z.string().nullable(),
  description: z.string().nullable(),
});
const combinedStatusSchema = z.object({ sha: z.string(), total_count: z.number().int(), statuses: z.array(statusSchema) });
const annotationsSchema = z.array(
  z.object({ path: z.string(), start_line: z.number().int(), annotation_level: z.string().nullable(), message: z.string().nullable() }),
);

type CheckRun = z.output<typeof checkRunSchema>;

/** A check with what is needed to find out more about it. */
export interface GithubCheck extends SeenCheck {
  readonly summary: string;
  readonly annotations: number;
  /** The job of GitHub's own runners that it stands for; null: it is none. */
  readonly jobId: number | null;
}

const PAGE = 100;
/** Most pages that are read of anything. */
const MOST_PAGES = 10;
const MOST_ANNOTATIONS = 20;
/** The most of a job's log that is read, and of its end that is kept, in bytes. */
const MAX_LOG_BYTES = 8 * 1024 * 1024;
const LOG_END_BYTES = 8 * 1024;

export type GithubChecks = ReturnType<typeof createGithubChecks>;

/** The calls of GitHub's API that tell of the checks of a commit. Each rejects with GithubError. */
export function createGithubChecks(options: GithubClientOptions) {
  const { owner, name: repo } = options.repository;
  const { call, ask } = githubCalls(options);

  async function allPages<T>(read: (page: number) => Promise<{ readonly total: number; readonly found: readonly T[] }>): Promise<T[]> {
    const all: T[] = [];
    for (let page = 1; ; page += 1) {
      const { total, found } = await read(page);
      all.push(...found);
      if (found.length === 0 || all.length >= total) return all;
      if (page === MOST_PAGES) throw tooMany(total);
    }
  }

  const checkRuns = (commit: string): Promise<GithubCheck[]> =>
    allPages(async (page) => {
      const route = "GET /repos/{owner}/{repo}/commits/{ref}/check-runs";
      const answer = await ask(checkRunsSchema, call(route, { owner, repo, ref: commit, filter: "latest", per_page: PAGE, page }));
      return { total: answer.total_count, found: answer.check_runs.map(fromCheckRun) };
    });
  const statuses = (commit: string): Promise<GithubCheck[]> =>
    allPages(async (page) => {
      const route = "GET /repos/{owner}/{repo}/commits/{ref}/status";
      const answer = await ask(combinedStatusSchema, call(route, { owner, repo, ref: commit, per_page: PAGE, page }));
      return { total: answer.total_count, found: answer.statuses.map((status) => fromStatus(status, answer.sha)) };
    });

  async function annotationsOf({ id, annotations }: GithubCheck): Promise<CheckAnnotation[]> {
    if (annotations === 0) return [];
    const route = "GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations";
    const found = await ask(annotationsSchema, call(route, { owner, repo, check_run_id: id, per_page: MOST_ANNOTATIONS }));
    return found.map(({ path, start_line, annotation_level, message }) => ({
      path,
      line: start_line,
      level: annotation_level ?? "notice",
      message: message ?? "",
    }));
  }

  /** GitHub sends on to where its logs are, which gets no token. */
  async function logOf({ jobId }: GithubCheck): Promise<string> {
    if (jobId === null) return "";
    const { status, headers } = await call("GET /repos/{owner}/{repo}/actions/jobs/{job_id}/logs", { owner, repo, job_id: jobId });
    const { location } = headers;
    if (status !== 302 || location === undefined) return "";
    const answer = await options.fetch(location, { redirect: "error" });
    if (answer.ok && answer.body !== null) return endOf(answer.body);
    await answer.body?.cancel();
    return "";
  }

  return {
    /** All check runs and commit statuses of a commit, each as it stands now. */
    list: async (commit: string): Promise<GithubCheck[]> => [...(await checkRuns(commit)), ...(await statuses(commit))],
    /** What can be known of a check that failed. What is refused, or not there, is left out: the check is told of all the same. */
    details: async (check: GithubCheck): Promise<FailedCheck> => ({
      name: check.name,
      conclusion: check.conclusion,
      url: check.url,
      summary: check.summary,
      annotations: await annotationsOf(check).catch(leftOut([])),
      log: await logOf(check).catch(() => ""),
    }),
  };
}

/** What has not been looked at may have failed, so nothing can be said of the commit. */
function tooMany(total: number): GithubError {
  const message = `There are ${total} checks, and no more than ${MOST_PAGES * PAGE} are looked at.`;
  return new GithubError({ type: "never", problem: { code: "refused", message } });
}

function leftOut<T>(instead: T) {
  return (error: unknown): T => {
    if (error instanceof GithubError) return instead;
    throw error;
  };
}

function fromCheckRun(run: CheckRun): GithubCheck {
  const { id, name, output } = run;
  return {
    id,
    name,
    suite: run.check_suite?.id ?? 0,
    commit: run.head_sha,
    conclusion: conclusionOf(run),
    url: run.html_url ?? run.details_url ?? null,
    summary: [output.title, output.summary].filter((text) => text !== null && text !== "").join("\n\n"),
    annotations: output.annotations_count,
    jobId: run.app?.slug === "github-actions" ? id : null,
  };
}

/** A conclusion that is not known here is none that could be relied on. */
function conclusionOf({ status, conclusion }: CheckRun): CheckConclusion {
  if (status !== "completed") return "pending";
  return CHECK_CONCLUSIONS.find((known) => known === conclusion) ?? "pending";
}

function fromStatus({ id, context, state, target_url, description }: z.output<typeof statusSchema>, commit: string): GithubCheck {
  return {
    id,
    name: context,
    suite: null,
    commit,
    conclusion: state,
    url: target_url,
    summary: description ?? "",
    annotations: 0,
    jobId: null,
  };
}

/** The end of a text of which no more than so much is read and kept. */
async function endOf(body: ReadableStream<Uint8Array>): Promise<string> {
  let end = Buffer.alloc(0);
  let read = 0;
  for await (const chunk of body) {
    end = Buffer.concat([end, chunk]).subarray(-LOG_END_BYTES);
    read += chunk.length;
    // Its end is further away than it is worth.
    if (read > MAX_LOG_BYTES) return "";
  }
  // Every line begins with when it was written.
  return end.toString().replaceAll(/^\uFEFF?\d{4}-\d\d-\d\dT[\d:.]+Z /gm, "");
}
