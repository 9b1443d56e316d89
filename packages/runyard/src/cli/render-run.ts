import { isTerminal, money, type PendingRequest, type Run, spentWords } from "@runyard/sdk/contract";
import { count, duration, oneLine, type Paint, plural, printable } from "./output.ts";
import { renderPublish, renderStop } from "./render-publish.ts";
import { renderGivenFrom } from "./run-defaults-options.ts";
import { renderReview, renderReviewEnd } from "./render-review.ts";
import { renderRunChecks } from "./render-checks.ts";
import { renderRepositories, renderRepositoryResults } from "./render-repositories.ts";
import { renderSetup } from "./render-setup.ts";
import { renderVariables } from "./render-variables.ts";
import { wrap, wrapBehind } from "./text.ts";

/** The colour of a status, the same wherever it is shown. */
function statusStyle(status: Run["status"]): "green" | "red" | "yellow" | "cyan" {
  if (status === "completed") return "green";
  if (status === "failed" || status === "timeout") return "red";
  return status === "running" || status === "pending" ? "cyan" : "yellow";
}

export function paintStatus(run: Run, paint: Paint): string {
  return paint(statusStyle(run.status), run.status);
}

/** The head of a run: who does what, where. */
export function renderHead(run: Run, paint: Paint, width: number): string {
  const model = run.model === null ? "" : ` · ${run.model}`;
  const simulated = run.simulated ? ` · ${paint("yellow", "simulated, no AI")}` : "";
  const replays = run.replayOf === null ? "" : ` · ${paint("yellow", `replay of ${run.replayOf}`)}`;
  return [
    wrap(`${paint("bold", run.id)}  ${agentWords(run)}${model}${simulated}${replays}`, { width, indent: "" }),
    wrap(oneLine(run.task, 400), { width, indent: "  " }),
    ...(run.turn === 1 ? [] : [wrapBehind(`  ${paint("dim", `turn ${run.turn}`)} `, oneLine(run.prompt, 400), width)]),
    paint("dim", `  ${run.repositoryUrl} · ${run.branch ?? "detached head"} at ${run.baseCommit.slice(0, 10)}`),
  ].join("\n");
}

/** The saved agent and what it works as, or what the run itself named. */
function agentWords({ agent }: Run): string {
  return agent.name === null ? agent.profile : `${agent.name} (${agent.profile})`;
}

/** What the run was given beside its task; nothing of it by servers that do not know of it. */
export function renderGiven(
  { credential, context, files, mcpServers, settings, setup, egressDenied, checks, ...given }: Partial<Run>,
  paint: Paint,
  width: number,
): string[] {
  const row = (name: string, text: string): string => wrapBehind(`  ${paint("dim", name.padEnd(7))} `, oneLine(text, 400), width);
  return [
    ...(credential === "inside" ? [row("login", "the agent's own, which is in its sandbox (credential: inside)")] : []),
    ...(context == null ? [] : [row("context", JSON.stringify(context))]),
    ...(files === undefined || files.length === 0 ? [] : [row("files", files.join(", "))]),
    ...(mcpServers === undefined || mcpServers.length === 0 ? [] : [row("mcp", mcpServers.map((server) => server.name).join(", "))]),
    ...renderGivenFrom(given, row),
    ...renderRepositories(given, row),
    ...renderVariables(given, row),
    ...renderSetup(setup, row),
    ...renderPublish(given, row),
    ...renderStop(given, row),
    ...renderReview(given, row),
    ...renderRunChecks(checks, row),
    ...(settings?.egress === undefined || settings.egress.length === 0 ? [] : [row("egress", egressWords(settings))]),
    ...(egressDenied === undefined || egressDenied.length === 0 ? [] : [row("refused", deniedWords(egressDenied))]),
  ];
}

/** "npm (repository), api.example.com (agent, run)"; servers of earlier versions do not say who gave it. */
function egressWords({ egress, egressFrom = {} }: Pick<Run["settings"], "egress"> & Partial<Run["settings"]>): string {
  return egress.map((host) => (egressFrom[host] === undefined ? host : `${host} (${egressFrom[host].join(", ")})`)).join(", ");
}

/** What the run was not let to reach. */
function deniedWords(denied: Run["egressDenied"]): string {
  return denied.map(({ target, reason }) => `${target} (${reason})`).join(", ");
}

/** What a run waits for, each with the command that answers it. */
export function renderWaiting(run: Run, paint: Paint, width: number): string[] {
  const several = run.waitingFor.length > 1;
  return run.waitingFor.flatMap((request) => [
    wrapBehind(`  ${paint("yellow", "?")} ${request.kind}: `, printable(request.title), width),
    `    ${answerCommand(run.id, request, several)}`,
  ]);
}

export function answerCommand(runId: string, request: Pick<PendingRequest, "kind" | "id">, nameIt: boolean): string {
  if (request.kind === "approval") return `runyard approve ${runId}   (or: runyard reject ${runId})`;
  const words = request.kind === "permission" ? "allow   (or deny)" : '"your answer"';
  return `runyard answer ${runId} ${nameIt ? `--request ${request.id} ` : ""}${words}`;
}

export interface EndOptions {
  readonly paint: Paint;
  readonly width: number;
  /** Whether to name the commands that look at the result. */
  readonly hints: boolean;
}

/** The end of a run: what came of it, what it used, and how to look at it. */
export function renderEnd(run: Run, { paint, width, hints }: EndOptions): string {
  const lines = [`${paint(["bold", statusStyle(run.status)], run.status)} after ${duration(run.usage.executionTime)}`];
  if (run.error !== null) lines.push(wrapBehind(`  ${paint("red", run.error.type)}: `, printable(run.error.message), width));
  if (run.result !== null)
    lines.push(...renderResult(run, run.result, paint), ...renderRepositoryResults(run.result.repositories, paint, width));
  lines.push(`  ${paint("dim", "usage ")}  ${renderUsage(run)}`);
  if (run.budget !== null) lines.push(`  ${paint("dim", "budget")}  ${renderBudget(run, run.budget)}`);
  if (hints && run.result?.headCommit) lines.push(`  ${paint("dim", "look  ")}  runyard diff ${run.id}`);
  if (hints && run.result?.headBranch) lines.push(`  ${paint("dim", "take  ")}  runyard pull ${run.id} --merge`);
  return lines.join("\n");
}

function renderResult(run: Run, result: NonNullable<Run["result"]>, paint: Paint): string[] {
  const review = renderReviewEnd(result, (text) => `  ${paint("dim", "review")}  ${text}`);
  if (review.length > 0) return review;
  if (result.headCommit === null) return [`  ${paint("dim", "change")}  none: the agent changed no file`];
  const change = `${plural(result.filesChanged, "file")} changed, ${paint("green", `+${result.insertions}`)} ${paint("red", `−${result.deletions}`)}`;
  const branch = result.headBranch === null ? paint("dim", `none: ${whyNoBranch(run)}`) : paint("bold", result.headBranch);
  return [`  ${paint("dim", "branch")}  ${branch}`, ...renderPullRequest(run, result, paint), `  ${paint("dim", "change")}  ${change}`];
}

/** Nothing by servers that do not know of pull requests. */
function renderPullRequest(run: Partial<Run>, result: NonNullable<Run["result"]>, paint: Paint): string[] {
  const row = (text: string): string => `  ${paint("dim", "pull  ")}  ${text}`;
  if (result.pullRequestProblem)
    return [row(paint("yellow", `none (${result.pullRequestProblem.code}): ${printable(result.pullRequestProblem.message)}`))];
  if (!result.pullRequestUrl) return [];
  const made = run.githubPullRequests?.find(({ url }) => url === result.pullRequestUrl);
  const state = made === undefined ? "" : made.merged ? ", merged" : made.state === "closed" ? ", closed" : made.draft ? ", draft" : "";
  return [row(`${paint("bold", printable(result.pullRequestUrl))}${state}`)];
}

/** Why a run that changed something has no branch. */
export function whyNoBranch({ replayOf, publish, settings, status, result }: Run): string {
  if (result?.branchProblem) return `(${result.branchProblem.code}) ${printable(result.branchProblem.message.replace(/\.$/, ""))}`;
  if (replayOf !== null) return "this is a replay";
  if (!settings.permissions.includes("repository:write")) return "the run has no permission repository:write";
  if (publish === "none") return "the run was to publish nothing";
  if (!isTerminal(status)) return "it is not published yet";
  return status === "completed" ? "it could not be published, and the log says why" : "it was not published";
}

function renderUsage(run: Run): string {
  const { usage } = run;
  if (usage.modelCalls === 0) return isTerminal(run.status) ? "no model call went through the gateway" : "no model call yet";
  if (run.replayOf !== null) return `nothing: ${plural(usage.modelCalls, "model call")}, answered from the recording`;
  const failed = usage.failedModelCalls === 0 ? "" : ` (${usage.failedModelCalls} failed)`;
  return `${count(usage.inputTokens)} tokens in, ${count(usage.outputTokens)} out, ${plural(usage.modelCalls, "model call")}${failed}, ${renderCost(run)}`;
}

/** How much of a run's budget is spent. */
export function renderBudget({ credential }: Pick<Run, "credential">, budget: NonNullable<Run["budget"]>): string {
  const why = credential === "inside" ? "the answer under way can pass it" : "without isolation an agent can pass it by";
  return `${spentWords(budget)} spent${budget.enforcement === "enforced" ? "" : `; ${budget.enforcement}: ${why}`}`;
}

/** What a run cost: all of it, or what is known and how much is not. */
function renderCost({ usage, simulated, credential }: Run): string {
  if (simulated) return "simulated";
  if (credential === "inside") return "paid with the agent's own login";
  if (usage.totalCost !== null) return money(usage.totalCost);
  const calls = `${plural(usage.unpricedCalls, "call")} without a known cost`;
  return usage.pricedCost === null ? "cost unknown" : `${money(usage.pricedCost)} and ${calls}`;
}
