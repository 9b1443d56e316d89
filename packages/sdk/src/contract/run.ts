import { z } from "zod";
import { approvalAboveUsdSchema, approvalSchema } from "./approval.ts";
import { attemptSettings, attemptSettingsShown, attemptsShown, verifyRetriesSchema, verifySchema } from "./attempts.ts";
import { budgetSchema, runBudgetSchema } from "./budget.ts";
import { runChecksSchema } from "./checks.ts";
import { containerImageSchema } from "./container-image.ts";
import { idempotencyKeySchema } from "./creating.ts";
import { egressDeniedSchema, egressFromSchema, egressSchema } from "./egress.ts";
import { environmentSchema, environmentShownSchema, isNamedOnce, NAMED_TWICE, secretNamesSchema } from "./environment.ts";
import { furtherRepositoriesSchema, furtherRepositoryShownSchema, furtherResultSchema } from "./further-repositories.ts";
import { agentNameSchema, runIdSchema, sandboxIdSchema } from "./ids.ts";
import { isolationFloorSchema } from "./isolation-floor.ts";
import { commandWordsSchema, mcpServersSchema, mcpServerViewSchema } from "./mcp-servers.ts";
import { IN_MILLISECONDS } from "./milliseconds.ts";
import { permissionPolicyRequestSchema, permissionPolicySchema, toolKindSchema } from "./permission-policy.ts";
import { planSettings, planSettingsShown, planSummarySchema } from "./plan.ts";
import { contextSchema, filesSchema } from "./prompt.ts";
import { publishFromSchema } from "./publish-defaults.ts";
import { protectedFileSchema } from "./publishing.ts";
import { branchProblemSchema } from "./branch-problem.ts";
import { pullRequestStopSchema } from "./pull-request-stops.ts";
import { publishModeSchema, pullRequestProblemSchema, pullRequestSchema, pullRequestSettingsSchema } from "./pull-requests.ts";
import { replaySchema } from "./recordings.ts";
import { reviewSchema, runReviewSchema } from "./reviews.ts";
import { branchSchema, givenFromSchema } from "./run-defaults.ts";
import { repositoryUrlSchema } from "./settings.ts";
import { RUN_PERMISSIONS, runPermissionsSchema } from "./run-permissions.ts";
import { runSetupSchema, setupSchema } from "./setup.ts";
import { runErrorSchema, runPhaseSchema, runStatusSchema } from "./status.ts";
import { tokenFigures } from "./usage.ts";

export const SANDBOX_DRIVERS = ["bwrap", "docker", "process"] as const;
export type SandboxDriverName = (typeof SANDBOX_DRIVERS)[number];
export const sandboxDriverSchema = z.enum(SANDBOX_DRIVERS);

/** PostgreSQL's text holds no NUL, and no argument of a program does. */
const noNul = (text: string): boolean => !text.includes("\0");

/** Longest task, in characters. */
export const MAX_TASK_CHARS = 1_000_000;
/** Default and longest active time of a run, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 3_600_000;
/** Default and longest time that an agent is kept alive while it waits for people, in milliseconds. */
export const DEFAULT_AGENT_WAIT_MS = 600_000;
export const MAX_AGENT_WAIT_MS = 30 * 24 * 3_600_000;
export const MAX_TIMEOUT_MS = 24 * 3_600_000;

const taskSchema = z.string().trim().min(1, "must say what to do").max(MAX_TASK_CHARS).refine(noNul, "must not contain NUL");

/** How a run is carried out; what is left out has a default. */
export const runSettingsSchema = z
  .strictObject({
    /** Active time that the run may use, in milliseconds; waiting for people does not count. */
    timeout: z.int().min(1_000).max(MAX_TIMEOUT_MS).optional().describe(IN_MILLISECONDS),
    /**
     * How long the agent is kept alive while it waits for an answer of a person, in milliseconds; default 10 minutes. Then
     * it is let go, and the run goes on with the answer once that has come.
     */
    agentWait: z.int().min(1_000).max(MAX_AGENT_WAIT_MS).optional().describe(IN_MILLISECONDS),
    /** `bwrap` and `docker` isolate; `process` does not isolate at all and must be asked for by name. */
    sandboxDriver: sandboxDriverSchema.optional(),
    /** The container image of a run with `docker`, and of no other; default: the server's. */
    image: containerImageSchema.optional(),
    permissions: runPermissionsSchema.optional(),
    /** What its sandbox must keep, or the run is refused. It can raise what holds for it, and not lower it. */
    isolationFloor: isolationFloorSchema.optional(),
    /** Hosts that programs in the sandbox may reach, beside those of its saved agent, repository and organization; default: none. */
    egress: egressSchema.optional(),
    /** Default: what the repository or the organization has. Where several say something the lowest counts: a run cannot loosen it. */
    approvalAboveUsd: approvalAboveUsdSchema.optional(),
    ...attemptSettings,
    ...planSettings,
  })
  .refine(
    ({ sandboxType, machineType }) => sandboxType === undefined || machineType === undefined,
    "`sandboxType` and `machineType` say the same: give one of them",
  );
export type RunSettings = z.infer<typeof runSettingsSchema>;

/** Whose credentials an agent's model calls have: the keys of the server's gateway, or the login that the agent program holds on the server's machine. */
export const AGENT_LOGINS = ["gateway", "own"] as const;
export const agentLoginSchema = z.enum(AGENT_LOGINS);
export type AgentLoginChoice = z.infer<typeof agentLoginSchema>;

/** Body of `POST /v1/agent-runs`. Names are those of seed 001 where it has one. */
export const createRunSchema = z
  .strictObject({
    task: taskSchema,
    repositoryUrl: repositoryUrlSchema,
    /** The branch to start from; default: as the repository's settings have it, else its HEAD. */
    branch: branchSchema.optional(),
    /** Further repositories that the agent works on or may read, beside the one above; each once. */
    repositories: furtherRepositoriesSchema.optional(),
    /** What else the agent is to know: it stands in the prompt as JSON. */
    context: contextSchema.optional(),
    /** What the agent is to look at first: paths from the top of the repository. */
    files: filesSchema.optional(),
    agent: z
      .strictObject({
        /** A saved agent's name, or a profile's. */
        name: agentNameSchema.optional(),
        /** A profile's name, for example `builtin` or `opencode`. */
        profile: z.string().min(1).max(64).optional(),
        /** The words of a command that speaks ACP on stdio; makes the profile `custom`. */
        command: commandWordsSchema.optional(),
        /** Default: as the saved agent has it, else `gateway`. */
        login: agentLoginSchema.optional(),
      })
      .refine(
        ({ name, profile, command }) => [name, profile, command].filter((part) => part !== undefined).length < 2,
        "give a name, a profile or a command, one of them",
      )
      .optional(),
    model: z.string().min(1).max(200).refine(noNul, "must not contain NUL").optional(),
    permissionPolicy: permissionPolicyRequestSchema.optional(),
    /** Servers for the agent, beside those of a saved agent; of two with one name the run's counts. */
    mcpServers: mcpServersSchema.optional(),
    /** Variables for the agent and for what verifies its work, beside those of its saved agent, repository and organization; of two with one name the run's counts. */
    environment: environmentSchema.optional(),
    /** Secrets that it is given beside those, by their names. */
    secrets: secretNamesSchema.optional(),
    settings: runSettingsSchema.optional(),
    /** Whether the agent makes a plan first, about which a person decides before anything may be changed; default: as the saved agent, the repository or the organization has it. */
    plan: z.boolean().optional(),
    /** Commands that make the workspace ready, before the agent begins; null: none. Default: those of the repository. */
    setup: setupSchema.nullable().optional(),
    /** Commands that must succeed before anything is published; an empty list: none. Default: those of the repository. */
    verify: verifySchema.optional(),
    /** How often a failure of `verify` goes back to the agent; default 1. */
    verifyRetries: verifyRetriesSchema.optional(),
    /** What its model calls may use at most, in all of its turns together. */
    budget: budgetSchema.optional(),
    /**
     * What becomes of its result. Default: as its repository or its organization has it; else a pull request, where the repository is
     * at a GitHub server for which there is a token and the run is granted `pull_request:create`; else a branch.
     */
    publish: publishModeSchema.optional(),
    /** Of its pull request. Default of each field: as its repository or its organization has it. */
    pullRequest: pullRequestSettingsSchema.optional(),
    /** Whether it waits for the checks of what it publishes, and puts right what fails; default: as the repository has it. */
    watchChecks: z.boolean().optional(),
    /** A pull request that it looks at: it starts from its head, and its final answer is posted there as one review. */
    review: reviewSchema.optional(),
    /** The same as the header `Idempotency-Key`. */
    idempotencyKey: idempotencyKeySchema.optional(),
  })
  .refine(isNamedOnce, NAMED_TWICE);
export type CreateRunRequest = z.input<typeof createRunSchema>;

/** Body of `POST /v1/agent-runs/{id}/continue`. */
export const continueRunSchema = z
  .strictObject({
    /** What to do next, in the same workspace and conversation; may be left out with `rebase`. */
    prompt: taskSchema.optional(),
    /** Brings in what the run's base branch is by now, before anything else is done. */
    rebase: z.boolean().default(false),
    /** As when the run was created; default: as it was then. */
    plan: z.boolean().optional(),
    /** In place of the run's budget; what was spent before counts. Default: as it was. */
    budget: budgetSchema.optional(),
    /** Allows agents to go on with its pull requests again where a person has stopped them. */
    allowPullRequest: z.boolean().optional(),
  })
  .refine(({ prompt, rebase }) => prompt !== undefined || rebase, { path: ["prompt"], message: "say what to do next, or set rebase" });
export type ContinueRunRequest = z.input<typeof continueRunSchema>;

/** Body of `POST /v1/agent-runs/{id}/permissions/{pid}`. */
export const answerPermissionSchema = z.strictObject({
  decision: z.enum(["allow", "deny"]),
  /** Decides every later call like this one the same way, for the rest of the run: the kind and the exact command or paths. */
  remember: z.boolean().default(false),
});
export type AnswerPermissionRequest = z.input<typeof answerPermissionSchema>;

/** Body of `POST /v1/agent-runs/{id}/questions/{qid}`. */
export const answerQuestionSchema = z.strictObject({ answer: z.string().trim().min(1).max(100_000).refine(noNul, "must not contain NUL") });
export type AnswerQuestionRequest = z.infer<typeof answerQuestionSchema>;

/** Limits of a sandbox; null means "none" in a request and "not enforced" in a grant. */
export const limitsSchema = z.object({
  memoryBytes: z.number().int().positive().nullable(),
  /** A share of the host's processors. */
  cpus: z.number().positive().nullable(),
  /** Most processes and threads at a time. */
  pids: z.number().int().positive().nullable(),
  diskBytes: z.number().int().positive().nullable(),
});
export type Limits = z.infer<typeof limitsSchema>;

/** How strongly something is kept inside: `hard` by the kernel, `none` not at all. */
export const isolationSchema = z.object({
  filesystem: z.enum(["hard", "none"]),
  network: z.enum(["hard", "none"]),
  processes: z.enum(["hard", "none"]),
  /** Whether calls to the kernel are filtered that only its administrators need. Runs of older servers do not say it. */
  syscalls: z.enum(["hard", "none"]).default("none"),
});
export type Isolation = z.infer<typeof isolationSchema>;

export const sandboxSchema = z.object({
  driver: sandboxDriverSchema,
  isolation: isolationSchema,
  requested: limitsSchema,
  granted: limitsSchema,
  /** What it had to keep; runs of older servers do not say it. */
  floor: isolationFloorSchema.optional(),
  /** How `granted.diskBytes` is kept: `soft` is looked at now and then, and a run that takes more is ended. Runs of older servers have no such limit. */
  diskLimit: z.enum(["hard", "soft"]).optional(),
  /** Hosts and presets that programs in it may reach; not there: none, or without isolation all. */
  egress: z.array(z.string()).optional(),
  /**
   * What the workspace is: an `overlay` upon a checkout or a snapshot that is there, a `copy` of a snapshot or of the workspace of the turn before, or a
   * `checkout` of its own. Not there: it lives on from the turn before, or an older server made it.
   */
  workspace: z.enum(["overlay", "copy", "checkout"]).optional(),
});
/** The sandbox that a run got, with the limits that were asked for and those that are enforced. */
export type SandboxReport = z.infer<typeof sandboxSchema>;

export const usageSchema = z.object({
  ...tokenFigures,
  /** input + output. */
  tokensUsed: z.number().int().nullable(),
  /** Requests to the model's provider, and how many of them failed. */
  modelCalls: z.number().int(),
  failedModelCalls: z.number().int(),
  /** US dollars; null: unknown, because there was no model call, or one without a known cost. */
  totalCost: z.number().nullable(),
  /** US dollars, of the calls with a known cost; null: none has one. */
  pricedCost: z.number().nullable(),
  /** Calls without a known cost. */
  unpricedCalls: z.number().int(),
  /** Active time in milliseconds. */
  executionTime: z.number().int().describe(IN_MILLISECONDS),
});
export type Usage = z.infer<typeof usageSchema>;

export const runResultSchema = z.object({
  /** The agent's last words. */
  summary: z.string(),
  /** The branch in the user's repository, or null when the agent changed nothing, and in a replay. */
  headBranch: z.string().nullable(),
  /** Why there is none, where there should be one; the commit and its patch are kept all the same. */
  branchProblem: branchProblemSchema.optional(),
  headCommit: z.string().nullable(),
  baseCommit: z.string(),
  filesChanged: z.number().int(),
  insertions: z.number().int(),
  deletions: z.number().int(),
  /** Who approved that it was published, where it touches protected files. */
  approvedBy: z.object({ userId: z.string(), userName: z.string().optional() }).optional(),
  /** The pull request that goes with it, where there is one. */
  pullRequestUrl: z.string().nullable().optional(),
  /** Why there is none, where there should be one; the branch is there all the same. */
  pullRequestProblem: pullRequestProblemSchema.nullable().optional(),
  /** Of a run that reviews: where its answer was posted; null: it was not, and `reviewProblem` says why. */
  reviewUrl: z.string().nullable().optional(),
  reviewProblem: pullRequestProblemSchema.optional(),
  /** Of the run's further repositories; left out where it has none. */
  repositories: z.array(furtherResultSchema).optional(),
});
export type RunResult = z.infer<typeof runResultSchema>;

export const pendingRequestSchema = z.object({
  /** `approval`: the turn does not begin, or with `files` its result is not published, before somebody says so. */
  kind: z.enum(["permission", "question", "approval"]),
  id: z.string(),
  title: z.string(),
  toolKind: toolKindSchema.nullable(),
  /** Of an approval. */
  approval: approvalSchema.optional(),
  /** Of an approval before publishing: protected files that the result touches, at most 100 of them. */
  files: z.array(protectedFileSchema).optional(),
});
/** A permission or a question of the agent, or an approval of the run, that a person must answer. */
export type PendingRequest = z.infer<typeof pendingRequestSchema>;

/** A run, as the native API shows it. Figures that were not measured are null, never 0. */
export const runSchema = z.object({
  id: runIdSchema,
  /** The same run as an integer. */
  number: z.number().int(),
  /** Its sandbox, by the name that it has from the beginning to the end of the run, in all turns and attempts (seed 001). */
  sandboxId: sandboxIdSchema,
  status: runStatusSchema,
  phase: runPhaseSchema,
  /** Its place in the queue of its organization, 1 for the next one; null when it is not queued. */
  queuePosition: z.number().int().positive().nullable(),
  /**
   * Why it is queued: in the order of the queue, until its organization (`daily-cap`) or its saved agent
   * (`agent-daily-cap`) may spend more, or until a runner has the `memory` of its sandbox to give; null when it is not.
   */
  queueReason: z.enum(["order", "daily-cap", "agent-daily-cap", "memory"]).nullable(),
  /** Starts at 1; each `continue` begins the next. */
  turn: z.number().int(),
  attempt: z.number().int(),
  task: z.string(),
  /** What the present turn was asked: in the first turn the task. */
  prompt: z.string(),
  repositoryUrl: z.string(),
  /** The branch the run started from; null for a detached head. */
  branch: z.string().nullable(),
  baseCommit: z.string(),
  /** Those that it has beside that one. */
  repositories: z.array(furtherRepositoryShownSchema),
  /** `name`: of the saved agent that the run was given; it is as that was then, whatever became of it since. */
  agent: z.object({ name: z.string().nullable(), profile: z.string(), command: z.array(z.string()).nullable() }),
  /** What the saved agent puts in front of the run's first prompt. */
  instructions: z.string().nullable(),
  context: z.record(z.string(), z.unknown()).nullable(),
  files: z.array(z.string()),
  /** Without the values of headers and variables. */
  mcpServers: z.array(mcpServerViewSchema),
  environment: environmentShownSchema,
  /** Names of the secrets that it is given. */
  secrets: z.array(z.string()),
  model: z.string().nullable(),
  /** True when a scripted model of Runyard answered instead of a real one. */
  simulated: z.boolean(),
  /** The run whose recording answers in place of a model; null: this is no replay. A replay costs nothing. */
  replayOf: runIdSchema.nullable(),
  replay: replaySchema.nullable(),
  permissionPolicy: permissionPolicySchema,
  settings: z.object({
    timeout: z.number().int().describe(IN_MILLISECONDS),
    agentWait: z.number().int().describe(IN_MILLISECONDS),
    sandboxDriver: sandboxDriverSchema,
    /** Null: the driver has none. */
    image: z.string().nullable(),
    /** What the run is granted, with nothing left to be understood. */
    permissions: z.array(z.enum(RUN_PERMISSIONS)),
    /** The highest floor that held when it was created or continued. */
    isolationFloor: isolationFloorSchema,
    /** Hosts and presets that programs in the sandbox may reach. */
    egress: z.array(z.string()),
    /** The same, each with everybody who gave it; runs of older servers do not say it. */
    egressFrom: egressFromSchema,
    /** The lowest limit that held when it was created or continued; null: none. */
    approvalAboveUsd: z.number().nullable(),
    ...attemptSettingsShown,
    ...planSettingsShown,
  }),
  /** Null: it has none. */
  setup: runSetupSchema.nullable(),
  ...attemptsShown,
  sandbox: sandboxSchema.nullable(),
  /** The first 100 hosts that its programs wanted to reach and were not let to. */
  egressDenied: z.array(egressDeniedSchema),
  progress: z.object({ percentage: z.number().min(0).max(100).nullable(), currentStep: runPhaseSchema }),
  /** Whether this turn makes a plan first. */
  planFirst: z.boolean(),
  /** The newest plan of this turn; null where there is none (yet). The texts: `GET /v1/agent-runs/{id}/plan`. */
  plan: planSummarySchema.nullable(),
  /** `pr`: the result has a pull request, `pullRequestUrl`. */
  responseType: z.enum(["regular", "plan", "pr"]).nullable(),
  result: runResultSchema.nullable(),
  /** What becomes of its result. */
  publish: publishModeSchema,
  /** How its pull request is made; null: it is to have none. */
  pullRequest: pullRequestSettingsSchema.nullable(),
  /** Who said so; runs of older servers do not tell. */
  publishFrom: publishFromSchema,
  /** Who named its branch, its agent and what it verifies; runs of older servers do not tell. */
  givenFrom: givenFromSchema,
  /** The newest of its pull requests; null: it has none. */
  pullRequestUrl: z.string().nullable(),
  /** All that its turns have made, the oldest first, as they were when Runyard last saw them. */
  githubPullRequests: z.array(pullRequestSchema),
  /** Which of them a person has stopped all agents of, so that the run does not go on; null: none. */
  pullRequestStop: pullRequestStopSchema.nullable(),
  /** The pull request that it reviews; null: it reviews none. */
  review: runReviewSchema.nullable(),
  /** Of the checks of what it publishes; null: it does not wait for them. */
  checks: runChecksSchema.nullable(),
  error: runErrorSchema.nullable(),
  usage: usageSchema,
  /** Null: it may use what it wants. */
  budget: runBudgetSchema.nullable(),
  /**
   * Whose credentials its model calls have: `gateway`, those of this server, which no sandbox sees; `inside`, the login that
   * its agent program holds, which is in its sandbox. All go through the gateway, which counts them.
   */
  credential: z.enum(["gateway", "inside"]),
  waitingFor: z.array(pendingRequestSchema),
  cancelRequested: z.boolean(),
  lastSeq: z.number().int(),
  createdAt: z.iso.datetime(),
  startedAt: z.iso.datetime().nullable(),
  finishedAt: z.iso.datetime().nullable(),
  updatedAt: z.iso.datetime(),
});
export type Run = z.infer<typeof runSchema>;

/** Query of `GET /v1/agent-runs`: newest first. */
export const listRunsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
  status: runStatusSchema.optional(),
});
export type ListRunsQuery = z.input<typeof listRunsSchema>;

export const runPageSchema = z.object({
  data: z.array(runSchema),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type RunPage = z.infer<typeof runPageSchema>;
