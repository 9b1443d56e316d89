import type { Byline } from "../core/byline.ts";
import { pullRequestBody, type PullRequestStory, pullRequestTitle, type PullRequestWish } from "../core/pull-request.ts";
import { usageTotals, usdOrNull } from "../core/usage.ts";
import { changedFiles } from "../git/changed-files.ts";
import type { DiffStat } from "../git/publish.ts";
import { listPlans } from "../store/plans.ts";
import { promptOf, type RunRow } from "../store/run-row.ts";
import { attemptState, branchBase } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import type { RunHandle } from "./run-handle.ts";

/** What a run has put on a branch. */
export interface PublishedChange {
  readonly branch: string;
  readonly cachePath: string;
  readonly head: string;
  readonly stat: DiffStat;
}

/** The pull request that is to be made of what a run has pushed, in words. Nothing that it was given as a secret is in it. */
export async function pullRequestWish(ctx: RunnerContext, handle: RunHandle, made: PublishedChange): Promise<PullRequestWish> {
  const { row } = handle;
  const { draft = false, labels = [], reviewers = [] } = row.spec.pullRequest ?? {};
  const story = handle.secrets.redactor.json(await storyOf(ctx, row, made));
  if (row.branch === null) throw new Error(`Run ${row.id} began from no branch, and its pull request has nowhere to go`);
  return {
    runId: row.id,
    attempt: row.attempt,
    head: made.branch,
    base: row.branch,
    title: pullRequestTitle(story),
    body: pullRequestBody(story),
    draft,
    labels: [...labels],
    reviewers: [...reviewers],
  };
}

async function storyOf(ctx: RunnerContext, row: RunRow, { cachePath, head, stat }: PublishedChange): Promise<PullRequestStory> {
  const plans = row.plan_version === 0 ? [] : await listPlans(ctx.db, row.org_id, row.id);
  const plan = plans.findLast(({ turn, state }) => turn === row.turn && state === "approved");
  const state = attemptState(row);
  const results = state.verify?.results ?? [];
  const lastRound = Math.max(0, ...results.map(({ round }) => round));
  const { title = null, allowReferences = false } = row.spec.pullRequest ?? {};
  return {
    ...byline(ctx, row),
    attempt: row.attempt,
    title,
    asked: promptOf(row),
    plan:
      plan === undefined
        ? null
        : { text: plan.text, version: plan.version, by: plan.decidedBy?.by === "person" ? (plan.decidedBy.userName ?? null) : null },
    summary: state.summary ?? "",
    changed: { ...stat, files: await changedFiles(ctx.git, { cachePath, base: branchBase(row), head }) },
    verified: results.flatMap(({ round, command, kind, passed }) => (round === lastRound ? [{ run: command, kind, passed }] : [])),
    allowReferences,
  };
}

/** Which run of whom made something, and what it has cost. */
export function byline(ctx: Pick<RunnerContext, "publicUrl">, row: RunRow): Byline {
  const { costNanoUsd, unpricedCalls } = usageTotals(row.usage);
  return {
    runId: row.id,
    turn: row.turn,
    agent: row.spec.agent.name ?? row.spec.agent.profile,
    model: row.spec.model,
    costUsd: unpricedCalls === 0 ? usdOrNull(costNanoUsd) : null,
    simulated: row.simulated,
    link: ctx.publicUrl === null ? null : `${ctx.publicUrl}/v1/agent-runs/${row.id}`,
  };
}
