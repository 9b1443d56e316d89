import { type PendingRequest, type PlanSummary, type Run, type RunChecks, type RunReview, withoutSecrets } from "@runyard/sdk/contract";
import { normalizePolicy } from "../core/permission-policy.ts";
import { budgetOf } from "../core/spending.ts";
import { usageTotals, usdOrNull } from "../core/usage.ts";
import { showAttempts, showAttemptSettings } from "./attempts-shown.ts";
import { timesOf } from "./plans-shown.ts";
import { showStop } from "./pull-request-stops-shown.ts";
import { showReplay } from "./replays.ts";
import {
  activeMs,
  agentWaitOf,
  budgetFigures,
  hasOwnLogin,
  type OpenRow,
  permissionsOf,
  planSettings,
  promptOf,
  publishOf,
  type RunRow,
  type RunSpec,
  spentOf,
} from "./run-row.ts";
import { showSetup } from "./setup-shown.ts";

/** The run as the native API shows it. */
export function toRun(row: RunRow, open: readonly OpenRow[], nowMs: number): Run {
  const plan = showPlan(row);
  return {
    id: row.id,
    number: row.num,
    sandboxId: row.id.replace(/^run_/, "sandbox_"),
    status: row.status,
    phase: row.phase,
    queuePosition: row.queue_position ?? null,
    queueReason: row.queue_position ? (row.waits_for_cap ?? (row.waits_for_memory === true ? "memory" : "order")) : null,
    turn: row.turn,
    attempt: row.attempt,
    task: row.task,
    prompt: promptOf(row),
    repositoryUrl: row.repository_url,
    branch: row.branch,
    baseCommit: row.base_commit,
    repositories: [...(row.spec.repositories ?? [])],
    agent: { name: null, ...row.spec.agent },
    instructions: row.spec.instructions ?? null,
    context: row.spec.context ?? null,
    files: [...(row.spec.files ?? [])],
    mcpServers: (row.spec.mcpServers ?? []).map(withoutSecrets),
    environment: { ...row.spec.environment },
    secrets: [...(row.spec.secrets ?? [])],
    model: row.spec.model,
    simulated: row.simulated,
    replayOf: row.replay?.of ?? null,
    replay: showReplay(row),
    permissionPolicy: normalizePolicy(row.spec.permissionPolicy),
    settings: {
      timeout: row.spec.timeoutMs,
      agentWait: agentWaitOf(row),
      sandboxDriver: row.spec.sandboxDriver,
      image: row.spec.image ?? null,
      permissions: permissionsOf(row),
      isolationFloor: row.spec.isolationFloor ?? "none",
      egress: [...(row.spec.egress ?? [])],
      egressFrom: showEgressFrom(row.spec),
      ...showAttemptSettings(row),
      ...showPlanSettings(row),
      approvalAboveUsd: row.spec.approvalAboveUsd ?? null,
    },
    setup: showSetup(row),
    ...showAttempts(row),
    sandbox: row.sandbox,
    egressDenied: showDenied(row),
    progress: { percentage: row.percentage, currentStep: row.phase },
    planFirst: row.plans || plan !== null,
    plan,
    responseType: responseTypeOf(row, plan),
    result: row.result,
    ...showPullRequests(row),
    givenFrom: { ...row.spec.givenFrom },
    review: showReview(row.spec),
    checks: showChecks(row),
    error: row.error,
    usage: { ...showUsage(row), executionTime: activeMs(row, nowMs) },
    budget: showBudget(row),
    credential: hasOwnLogin(row) ? "inside" : "gateway",
    waitingFor: open.map(toPendingRequest),
    cancelRequested: row.cancel_reason !== null,
    lastSeq: row.last_seq,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    updatedAt: row.updated_at,
  };
}

const DENIED_SHOWN = 100;

/** Each host once, whatever attempts and turns wanted it. */
function showDenied({ egress_denied: denied }: RunRow): Run["egressDenied"] {
  const byTarget = new Map((denied ?? []).map((one) => [one.target, one]));
  return [...byTarget.values()].slice(0, DENIED_SHOWN);
}

function showEgressFrom({ egressFrom = {} }: RunSpec): Run["settings"]["egressFrom"] {
  return Object.fromEntries(Object.entries(egressFrom).map(([host, from]) => [host, [...from]]));
}

function showUsage(row: RunRow): Omit<Run["usage"], "executionTime"> {
  const { costNanoUsd, spentNanoUsd: _, spentTokens: __, ...usage } = usageTotals(row.usage);
  const { inputTokens, outputTokens } = usage;
  const pricedCost = usdOrNull(costNanoUsd);
  return {
    ...usage,
    tokensUsed: inputTokens === null && outputTokens === null ? null : (inputTokens ?? 0) + (outputTokens ?? 0),
    // A recording costs nothing, whatever is asked of it.
    totalCost: row.replay !== null ? 0 : usage.unpricedCalls === 0 ? pricedCost : null,
    pricedCost,
  };
}

function showBudget(row: RunRow): Run["budget"] {
  const { spec, usage } = row;
  const budget = budgetOf(spec.budget);
  if (budget === null) return null;
  // Without isolation an agent can reach models past the gateway, with whatever keys it finds. And of what a program asks
  // its maker with its own login nothing is changed, not even to keep an answer short.
  const isAdvisory = spec.sandboxDriver === "process" || hasOwnLogin(row);
  return { ...budgetFigures(budget, spentOf(usage)), enforcement: isAdvisory ? "advisory" : "enforced" };
}

function showPlan({ plan_shown: shown, plan_due_at: dueAt }: RunRow): PlanSummary | null {
  return shown ? { ...shown, ...timesOf(shown), dueAt } : null;
}

function showPlanSettings(row: RunRow): Pick<Run["settings"], "strictPlan" | "planTimeout" | "onPlanTimeout"> {
  const { strict, timeoutMs, onTimeout } = planSettings(row);
  return { strictPlan: strict, planTimeout: timeoutMs, onPlanTimeout: onTimeout };
}

function showPullRequests(
  row: RunRow,
): Pick<Run, "publish" | "publishFrom" | "pullRequest" | "pullRequestUrl" | "githubPullRequests" | "pullRequestStop"> {
  const { result, spec, pull_requests: made } = row;
  const { place: _, ...pullRequest } = spec.pullRequest ?? {};
  return {
    publish: publishOf(row),
    publishFrom: { ...spec.publishFrom },
    pullRequest: spec.pullRequest === undefined ? null : pullRequest,
    pullRequestUrl: result?.pullRequestUrl ?? made?.at(-1)?.url ?? null,
    githubPullRequests: [...(made ?? [])],
    pullRequestStop: showStop(row.pull_request_stop),
  };
}

function showReview({ review }: RunSpec): RunReview | null {
  if (review === undefined) return null;
  const { url, number, title, event, baseBranch, headCommit, fork } = review;
  return { url, number, title, event, baseBranch, headCommit, fork };
}

function showChecks({ spec: { checks }, carry, status, owner }: RunRow): RunChecks | null {
  if (checks === undefined) return null;
  const { retries, timeout } = checks;
  return { waiting: status === "running" && owner === null, rounds: carry?.checks?.rounds ?? 0, retries, timeout };
}

/** What the run gives: its result, or as long as nothing was approved, its plan. */
function responseTypeOf({ result }: RunRow, plan: PlanSummary | null): Run["responseType"] {
  if (result !== null) return result.pullRequestUrl ? "pr" : "regular";
  return plan === null || plan.state === "approved" ? null : "plan";
}

function toPendingRequest({ kind, id, request }: OpenRow): PendingRequest {
  const { title, toolKind } = request;
  return {
    kind,
    id,
    title,
    toolKind,
    ...("approval" in request && { approval: request.approval }),
    ...("files" in request && { files: [...request.files] }),
  };
}
