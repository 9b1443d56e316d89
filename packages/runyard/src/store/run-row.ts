import {
  type AgentLoginChoice,
  type Approval,
  type Budget,
  type CommitAuthor,
  DEFAULT_AGENT_WAIT_MS,
  type EventData,
  type FurtherRepository,
  type GivenFrom,
  type IsolationFloor,
  isTerminal,
  type PermissionPolicy,
  type ProtectedFile,
  type PublishFrom,
  type PublishMode,
  type PullRequest,
  type PullRequestSettings,
  type Run,
  type RunError,
  type RunPermission,
  type RunPhase,
  type RunResult,
  type RunStatus,
  type SandboxDriverName,
  type SandboxReport,
  type Setup,
  type ToolKind,
} from "@runyard/sdk/contract";
import type { AttemptSettings, Tries } from "../core/attempts.ts";
import type { ChecksSoFar, WatchedChecks } from "../core/checks.ts";
import type { EgressFrom } from "../core/egress-bounds.ts";
import { NO_PLAN, type PlanSettings } from "../core/plan.ts";
import type { AskedCall } from "../core/permission-decision.ts";
import type { GithubPlace } from "../core/github-place.ts";
import { firstPrompt } from "../core/prompt.ts";
import { reviewWords } from "../core/review-prompt.ts";
import type { ReviewSpec } from "../core/review.ts";
import type { StoredMcpServer } from "../core/saved-agent.ts";
import type { RunState } from "../core/run-machine.ts";
import { grantedPermissions } from "../core/run-permissions.ts";
import type { Amount, Budget as NormalBudget } from "../core/spending.ts";
import { type StoredUsage, usageTotals, usd, usdOrNull } from "../core/usage.ts";
import type { PlanShown } from "./plans-shown.ts";
import type { StopRow } from "./pull-request-stops-shown.ts";
import type { StoredReplay } from "./replays.ts";

/** What a run was asked to be, with every default filled in at creation. */
export interface RunSpec {
  /** `name`: of the saved agent that it was given; not there in runs of earlier versions. */
  readonly agent: { readonly name?: string | null; readonly profile: string; readonly command: string[] | null };
  /** Left out: `gateway`. */
  readonly login?: AgentLoginChoice;
  readonly model: string | null;
  readonly permissionPolicy: PermissionPolicy;
  readonly timeoutMs: number;
  readonly sandboxDriver: SandboxDriverName;
  /** The container image of a run with `docker`; the other drivers have none. */
  readonly image?: string;
  /** What was asked to be granted; left out: everything. */
  readonly permissions?: readonly RunPermission[];
  /** What its sandbox must keep. Not there in runs of earlier versions: nothing. */
  readonly isolationFloor?: IsolationFloor;
  /** Hosts and presets that programs in the sandbox may reach; left out: none. */
  readonly egress?: readonly string[];
  /** The same, with who gave them. Not there in runs of earlier versions. */
  readonly egressFrom?: EgressFrom;
  /** How long an agent is kept alive while it waits for people. Not there in runs of earlier versions. */
  readonly agentWaitMs?: number;
  /** Not there in runs of earlier versions. */
  readonly attempts?: AttemptSettings;
  readonly plan?: PlanSettings;
  /** Those that it has beside its first one; left out: none. */
  readonly repositories?: readonly FurtherRepository[];
  /** Left out: there is none. */
  readonly setup?: Setup;
  /** What else the first prompt is made of; left out where there is none of it. */
  readonly instructions?: string;
  readonly context?: Readonly<Record<string, unknown>>;
  readonly files?: readonly string[];
  /** With their secrets, encrypted; left out where there are none. */
  readonly mcpServers?: readonly StoredMcpServer[];
  /** Variables of its agent and of what verifies; left out where there are none. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Names of the secrets that it is given; left out where there are none. */
  readonly secrets?: readonly string[];
  /** Who its commits are by, and a line that names who asked; left out: Runyard, and none. */
  readonly commit?: { readonly author?: CommitAuthor; readonly coAuthor?: string };
  /** What the run may use at most; left out: there is no limit. */
  readonly budget?: Budget;
  /** Above which estimate a turn waits for a person, in US dollars; left out: there is no limit. */
  readonly approvalAboveUsd?: number;
  /** Not there in runs of earlier versions: a branch. */
  readonly publish?: PublishMode;
  /** Who said so. Not there in runs of earlier versions. */
  readonly publishFrom?: PublishFrom;
  /** Who named its branch, its agent and what it verifies. Not there in runs of earlier versions. */
  readonly givenFrom?: GivenFrom;
  /** Of its pull request, and where that is made; left out: there is to be none. */
  readonly pullRequest?: PullRequestSettings & { readonly place: GithubPlace };
  /** The pull request that it reviews; left out: none. */
  readonly review?: ReviewSpec;
  /** How the checks of what it publishes are waited for, and where they are asked for; left out: they are not. */
  readonly checks?: WatchedChecks;
}

/** What a turn goes on from: what the turns before left behind. */
export interface Carry {
  /** The attempts that may have the workspace and the agent's home, the likeliest first. */
  readonly attempts: readonly number[];
  /** The commit that the turns before made, which the workspace goes on from; null: none was made. */
  readonly head: string | null;
  /** What the user's repository was given; null: nothing yet. `base`: the commit of the base branch that it goes on from; left out: the run's own. */
  readonly published: { readonly branch: string; readonly commit: string; readonly base?: string } | null;
  /** The agent's own id of the conversation; null: there was none. */
  readonly sessionId: string | null;
  /** For an agent that cannot take up its conversation: what it was asked last, and what it said last. */
  readonly prompt: string;
  readonly lastWords: string | null;
  /** Attempts that may have the agent's home, the likeliest first, where they are not those of the workspace. */
  readonly homes?: readonly number[];
  /** Of the run's further repositories, by name; left out: they are as the run began with them. */
  readonly repositories?: Readonly<Record<string, Pick<Carry, "head" | "published">>>;
  /** Set between two attempts of a turn that are no retries. */
  readonly goesOn?: GoingOn;
  /** What the base branch was at that the turn brings in, and whether it has a task besides. Set for a turn that is to. */
  readonly rebase?: { readonly branch: string; readonly commit: string; readonly hasTask: boolean };
  /** The commit of the base branch that `head` goes on from, once one was brought in; left out: the run's own. */
  readonly base?: string;
  /** What checks failed in this turn. Set once the agent was told of some. */
  readonly checks?: ChecksSoFar;
}

/** What happened within a turn between two of its attempts, and what the next one is to do. */
export interface GoingOn {
  /** The attempt before: it planned, was let go while it waited for people, or was lost. */
  readonly attempt: number;
  readonly next:
    | { readonly type: "build"; readonly text: string; readonly isEdited: boolean }
    | { readonly type: "revise"; readonly version: number; readonly feedback: string }
    /** People have answered what it asked; `before`: what it was at work on. */
    | { readonly type: "answered"; readonly before: GoingOn["next"] | null }
    /** Checks of what it published failed; `text`: what it is told of them. */
    | { readonly type: "checks"; readonly text: string }
    /** The process that watched its agent died, and the agent was ended; `before` as above. */
    | { readonly type: "lost"; readonly before: GoingOn["next"] | null };
}

/** What the attempt begins with that follows one whose runner was lost. */
export interface Resume {
  readonly tries: Tries;
}

/** A row of `runs`, as PostgreSQL gives it. */
export interface RunRow {
  readonly id: string;
  readonly num: number;
  readonly org_id: string;
  readonly repository_id: string;
  readonly created_by: string;
  readonly task: string;
  /** What this turn was asked; null: the task. */
  readonly prompt: string | null;
  readonly carry: Carry | null;
  readonly repository_url: string;
  readonly branch: string | null;
  readonly base_commit: string;
  readonly spec: RunSpec;
  readonly simulated: boolean;
  readonly status: RunStatus;
  readonly phase: RunPhase;
  readonly turn: number;
  readonly attempt: number;
  readonly open_requests: number;
  readonly cancel_reason: string | null;
  readonly owner: string | null;
  readonly runner_id: string | null;
  readonly last_seq: number;
  readonly out_cursor: number;
  readonly in_size: number;
  readonly usage_cursor: number;
  /** How far the journals of runners that had the run before have been read. */
  readonly usage_cursors: Readonly<Record<string, number>>;
  readonly state: unknown;
  readonly sandbox: SandboxReport | null;
  readonly result: RunResult | null;
  readonly error: RunError | null;
  readonly usage: StoredUsage;
  readonly percentage: number | null;
  readonly active_ms: number;
  readonly active_since: string | null;
  /** Active time of the turns before this one. */
  readonly turn_active_ms: number;
  /** Whether this turn is (still) to make a plan before anything may be changed. */
  readonly plans: boolean;
  /** Whether a runner has taken up this turn before. */
  readonly begun: boolean;
  /** The number of the run's newest plan; 0: it has none. */
  readonly plan_version: number;
  readonly plan_due_at: string | null;
  /** Runners that were lost with this run in the turn `lost_turn`, and the last attempt that ended so. */
  readonly losses: number;
  readonly lost_turn: number | null;
  readonly lost_attempt: number | null;
  readonly resume: Resume | null;
  /** null: the run is no replay. */
  readonly replay: StoredReplay | null;
  /** What of its organization's or its agent's daily cap was set aside when it was claimed, in nano US dollars; null: there was no cap. */
  readonly allowance_nano: number | null;
  /** What it had spent before. */
  readonly allowance_from_nano: number | null;
  /** The saved agent that it was given; null: none. */
  readonly agent_id: string | null;
  /** The only runner that may take it up; null: any. */
  readonly only_runner: string | null;
  /** Of the sandbox that it asked for. */
  readonly memory_bytes: number;
  /** Of the larger one that the turn was given when it ran out of memory. */
  readonly recovery_bytes: number | null;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly updated_at: string;
  /** 1: next of its organization; null: not queued. Only where a run is read to be shown. */
  readonly queue_position?: number | null;
  /** Whose cap it is queued for, until that allows it more; null: nobody's. Only where a run is read to be shown. */
  readonly waits_for_cap?: "daily-cap" | "agent-daily-cap" | null;
  /** Whether it is queued because no runner has memory for its sandbox now. Only where a run is read to be shown. */
  readonly waits_for_memory?: boolean;
  /** What its programs were not let to reach. Only where a run is read to be shown. */
  readonly egress_denied?: Run["egressDenied"] | null;
  /** What its turns have made, the oldest first. Only where a run is read to be shown. */
  readonly pull_requests?: readonly PullRequest[] | null;
  /** Which of them is stopped. Only where a run is read to be shown. */
  readonly pull_request_stop?: StopRow | null;
  /** The newest plan of its turn. Only where a run is read to be shown. */
  readonly plan_shown?: PlanShown | null;
}

/** A row of `requests`; `request` is what the runner needs to answer it. */
export interface RequestRow {
  readonly id: string;
  readonly attempt: number;
  readonly kind: "permission" | "question";
  readonly request: {
    readonly title: string;
    readonly toolKind: ToolKind | null;
    /** What a permission is about; missing in those that a version without rules has stored. */
    readonly payload?: { readonly call?: AskedCall };
  };
  readonly answer: string | null;
  /** null: open. Closed without an answer: the attempt ended first. */
  readonly closed_at: string | null;
}

/** A row of `requests` that no agent made: the turn waits for it before it begins. */
export interface ApprovalRow {
  readonly id: string;
  readonly kind: "approval";
  readonly request: { readonly title: string; readonly toolKind: null; readonly approval: Approval };
}

/** The same for a result that waits to be published. */
interface HoldRow {
  readonly id: string;
  readonly kind: "approval";
  readonly request: { readonly title: string; readonly toolKind: null; readonly files: readonly ProtectedFile[] };
}

export type NewHold = Pick<HoldRow, "id" | "request">;

/** An approval before it is stored. */
export type NewApproval = Pick<ApprovalRow, "id" | "request">;

/** What a run waits for. */
export type OpenRow = RequestRow | ApprovalRow | HoldRow;

/** Milliseconds of active time up to `nowMs` (time that a run waits for people does not count). */
export function activeMs(row: Pick<RunRow, "active_ms" | "active_since">, nowMs: number): number {
  return row.active_ms + (row.active_since === null ? 0 : Math.max(0, nowMs - Date.parse(row.active_since)));
}

/** How the run's plans are made; a run of an earlier version makes none. */
export function planSettings(row: Pick<RunRow, "spec">): PlanSettings {
  return row.spec.plan ?? NO_PLAN;
}

/** How long an agent of the run is kept alive while it waits for people, in milliseconds. */
export function agentWaitOf(row: Pick<RunRow, "spec">): number {
  return row.spec.agentWaitMs ?? DEFAULT_AGENT_WAIT_MS;
}

/** What the run is granted; one of an earlier version everything. */
export function permissionsOf(row: Pick<RunRow, "spec">): RunPermission[] {
  return grantedPermissions(row.spec.permissions);
}

/** What becomes of the run's result, within what it is granted. */
export function publishOf(row: Pick<RunRow, "spec">): PublishMode {
  const granted = permissionsOf(row);
  const { publish = "branch" } = row.spec;
  if (publish === "none" || !granted.includes("repository:write")) return "none";
  return publish === "pull_request" && granted.includes("pull_request:create") ? publish : "branch";
}

/** What the run machine decides by. */
export function machineState(
  row: Pick<RunRow, "status" | "phase" | "turn" | "attempt" | "begun" | "plans" | "owner" | "open_requests">,
): RunState {
  const { status, phase, turn, attempt, begun, plans, open_requests: openRequests } = row;
  const inHand = row.owner !== null && status !== "pending" && !isTerminal(status);
  return { status, phase, turn, attempt, begun, inHand, plans, openRequests };
}

/** What the run's present turn is about. */
export function promptOf(row: Pick<RunRow, "task" | "prompt">): string {
  return row.prompt ?? row.task;
}

/** The first prompt of the run, with all that stands around its task. */
export function firstPromptOf({ task, spec }: Pick<RunRow, "task" | "spec">): string {
  const { instructions = null, repositories = [], context = null, files = [] } = spec;
  const prompt = firstPrompt({ instructions, task, repositories, context, files });
  return spec.review === undefined ? prompt : `${prompt}\n\n${reviewWords(spec.review)}`;
}

/** Whether the run's model calls go out with the login that its agent program holds; where no maker is called, nobody's does. */
export function hasOwnLogin({ spec, simulated, replay }: Pick<RunRow, "spec" | "simulated" | "replay">): boolean {
  return spec.login === "own" && !simulated && replay === null;
}

/** What a run's calls count against a budget. */
export function spentOf(usage: StoredUsage): Amount {
  const { spentNanoUsd, spentTokens } = usageTotals(usage);
  return { nanoUsd: spentNanoUsd, tokens: spentTokens };
}

/** A budget and what is spent of it, as the API tells them. */
export function budgetFigures(budget: NormalBudget, spent: Amount): EventData<"budget.warned"> {
  return { usd: usdOrNull(budget.nanoUsd), tokens: budget.tokens, spentUsd: usd(spent.nanoUsd), spentTokens: spent.tokens };
}
