import {
  changeQuerySchema,
  answerPermissionSchema,
  answerQuestionSchema,
  type ApiErrorCode,
  changeAgentSchema,
  changeOrganizationSchema,
  changePullRequestSchema,
  changeRepositorySchema,
  confirmPlanSchema,
  continueRunSchema,
  createAgentSchema,
  createLoginLinkSchema,
  createRepositorySchema,
  createRunSchema,
  credentialPageSchema,
  credentialSchema,
  estimateSchema,
  EVENT_TYPES,
  eventDataSchemas,
  eventEnvelopeSchema,
  type EventType,
  exchangeDetailSchema,
  exchangeListSchema,
  fileListSchema,
  idempotencyKeySchema,
  listAgentsSchema,
  listCredentialsSchema,
  listLogsSchema,
  listRepositoriesSchema,
  listRunsSchema,
  listSecretsSchema,
  listSnapshotsSchema,
  logEntrySchema,
  loginLinkSchema,
  logPageSchema,
  modelListSchema,
  namePullRequestSchema,
  openedShellSchema,
  openShellSchema,
  organizationSchema,
  planListSchema,
  pullRequestSchema,
  pullRequestStateSchema,
  problemSchema,
  readinessSchema,
  rejectPlanSchema,
  rejectRunSchema,
  repositoryPageSchema,
  repositorySchema,
  revisePlanSchema,
  type RouteName,
  runDiffSchema,
  runEstimateSchema,
  runMetricsSchema,
  runPageSchema,
  runSchema,
  runUsageSchema,
  savedAgentPageSchema,
  savedAgentSchema,
  secretPageSchema,
  secretSchema,
  serverHomeSchema,
  serverStatusSchema,
  setCredentialSchema,
  setSecretSchema,
  snapshotPageSchema,
  snapshotSchema,
  workspaceListSchema,
  workspacePathSchema,
} from "@runyard/sdk/contract";
import { z } from "zod";

/** What a route takes and answers, beside what its entry in the route table says. */
export interface Operation {
  readonly tag: "Runs" | "Plans" | "Results" | "Recordings" | "Agents" | "Settings" | "Signing in" | "Server";
  readonly description?: string;
  readonly query?: z.ZodObject;
  /** Headers that it takes, and headers that its answer has, beside those that every route has. */
  readonly headers?: Readonly<Record<string, { readonly schema: z.ZodType; readonly description: string }>>;
  readonly answerHeaders?: Readonly<Record<string, string>>;
  readonly body?: z.ZodType;
  /** True where a request that says nothing needs no body. */
  readonly bodyOptional?: boolean;
  readonly status: number;
  /** By media type; text where a body has no schema. An answer without a body has none. */
  readonly answers: Readonly<Record<string, z.ZodType | "text" | "bytes">>;
  /** Further answers, as pages for people, by status. */
  readonly pages?: Readonly<Record<number, string>>;
  /** Beside those that every route of its kind has. */
  readonly errors?: readonly ApiErrorCode[];
}

/** One entry of a run's log: the same envelope for every type, and the data of that type. */
const runEventSchema = z.discriminatedUnion("type", EVENT_TYPES.map(eventOf) as [EventSchema, ...EventSchema[]]);
type EventSchema = ReturnType<typeof eventOf>;

function eventOf(type: EventType) {
  return eventEnvelopeSchema.extend({ type: z.literal(type), data: eventDataSchemas[type] });
}

const eventPageSchema = z.object({ data: z.array(runEventSchema), has_more: z.boolean(), next_after: z.int() });
const livezSchema = z.object({ status: z.literal("ok"), name: z.literal("runyard"), version: z.string() });

/** Schemas that have a name of their own in the document. */
export const NAMED_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  Run: runSchema,
  RunPage: runPageSchema,
  RunEvent: runEventSchema,
  EventPage: eventPageSchema,
  LogEntry: logEntrySchema,
  LogPage: logPageSchema,
  FileList: fileListSchema,
  RunDiff: runDiffSchema,
  Estimate: estimateSchema,
  RunEstimate: runEstimateSchema,
  RunUsage: runUsageSchema,
  RunMetrics: runMetricsSchema,
  PlanList: planListSchema,
  ExchangeList: exchangeListSchema,
  ExchangeDetail: exchangeDetailSchema,
  SavedAgent: savedAgentSchema,
  SavedAgentPage: savedAgentPageSchema,
  Repository: repositorySchema,
  RepositoryPage: repositoryPageSchema,
  Organization: organizationSchema,
  PullRequest: pullRequestSchema,
  PullRequestState: pullRequestStateSchema,
  Credential: credentialSchema,
  CredentialPage: credentialPageSchema,
  Secret: secretSchema,
  SecretPage: secretPageSchema,
  Snapshot: snapshotSchema,
  SnapshotPage: snapshotPageSchema,
  ModelList: modelListSchema,
  OpenedShell: openedShellSchema,
  WorkspaceList: workspaceListSchema,
  ServerStatus: serverStatusSchema,
  LoginLink: loginLinkSchema,
  Problem: problemSchema,
};

const eventsQuerySchema = z.object({
  after: z.int().min(0).optional().describe("Events behind this seq. A stream that is taken up again may say it as Last-Event-ID."),
  follow: z.enum(["0", "1"]).optional().describe("1: a stream stays after the end of a turn."),
  limit: z.int().min(1).max(1_000).optional().describe("Most events of a page (JSON only)."),
});

const json = (schema: z.ZodType): Operation["answers"] => ({ "application/json": schema });

const continueRun: Operation = {
  tag: "Runs",
  description:
    "The next turn: the same workspace, conversation and log. The branch goes on from the commit of the turn before; with `rebase` what the base branch is by now is merged first.",
  body: continueRunSchema,
  status: 202,
  answers: json(runSchema),
  errors: [
    "run_not_ended",
    "pull_request_stopped",
    "not_for_replays",
    "rebase_not_possible",
    "repository_not_usable",
    "sandbox_not_available",
    "below_isolation_floor",
    "egress_not_allowed",
    "login_not_usable",
    "budget_not_enforced",
    "price_unknown",
  ],
};

export const OPERATIONS: Readonly<Record<RouteName, Operation>> = {
  createRun: {
    tag: "Runs",
    description: "With an idempotency key it is safe to repeat: the same request under the same key gives the same run.",
    headers: {
      "Idempotency-Key": {
        schema: idempotencyKeySchema.optional(),
        description: "A name for this create, kept for 24 hours. The body's `idempotencyKey` is the same.",
      },
    },
    body: createRunSchema,
    status: 201,
    answers: json(runSchema),
    answerHeaders: {
      "Idempotent-Replayed": "`true` where the run was made before, under the same key.",
      "RateLimit-Policy": 'Creates that the token has, for example `"creates";q=600;w=60`: 600 in any 60 seconds.',
      RateLimit: 'What is left of them, and the seconds until there is one more: `"creates";r=599;t=60`.',
    },
    errors: [
      "repository_not_usable",
      "publish_not_possible",
      "review_not_possible",
      "pull_request_stopped",
      "checks_not_watchable",
      "unknown_agent",
      "unknown_secret",
      "sandbox_not_available",
      "below_isolation_floor",
      "egress_not_allowed",
      "login_not_usable",
      "budget_not_enforced",
      "price_unknown",
      "idempotency_mismatch",
      "rate_limited",
    ],
  },
  estimateRun: {
    tag: "Runs",
    description:
      "The same body as a create. By the runs of the same agent on the same repository where there are three, else by a rough formula.",
    body: createRunSchema,
    status: 200,
    answers: json(runEstimateSchema),
    errors: ["repository_not_usable", "unknown_agent", "login_not_usable"],
  },
  listRuns: { tag: "Runs", query: listRunsSchema, status: 200, answers: json(runPageSchema) },
  getRun: { tag: "Runs", status: 200, answers: json(runSchema) },
  cancelRun: {
    tag: "Runs",
    description: "The run has stopped when its status says so.",
    status: 202,
    answers: json(runSchema),
    errors: ["run_ended"],
  },
  continueRun,
  resumeRun: continueRun,
  approveRun: {
    tag: "Runs",
    description:
      "For a run whose `waitingFor` has an `approval`: its estimate is above `approvalAboveUsd`, or unknown, or (with `files`) its result touches protected files. It queues. The first decision counts; the same one again changes nothing.",
    status: 202,
    answers: json(runSchema),
    errors: ["approval_not_open"],
  },
  rejectRun: {
    tag: "Runs",
    description:
      "A run that has not begun ends as `cancelled`, one whose result waits as `failed` (`policy-violation`), with its change kept; it can be continued like any other.",
    body: rejectRunSchema,
    bodyOptional: true,
    status: 202,
    answers: json(runSchema),
    errors: ["approval_not_open"],
  },
  runEvents: {
    tag: "Runs",
    description:
      "Without gaps, from the first event or behind `after`. A stream ends after the last event of a turn; SSE says so with the message `stream.done`.",
    query: eventsQuerySchema,
    status: 200,
    answers: { "application/json": eventPageSchema, "text/event-stream": "text", "application/x-ndjson": "text" },
  },
  runStream: {
    tag: "Runs",
    description:
      "A WebSocket that sends the same log, one event a message, from the first one or behind `after`. After the last event of a turn it says `stream.done` and closes with 1000. Other codes: 1001 the server is closing, 1008 the token is not valid any more, 1011 the log could not be read: come back with `after`. A client that answers no pings is cut off.",
    query: eventsQuerySchema.omit({ limit: true }),
    status: 101,
    answers: {},
    errors: ["upgrade_required"],
  },
  runExchanges: {
    tag: "Recordings",
    description: "In the order in which they began. Calls that were made on another runner's machine are recorded there.",
    status: 200,
    answers: json(exchangeListSchema),
    errors: ["recording_not_here"],
  },
  runExchange: {
    tag: "Recordings",
    description:
      "Bodies of up to 1 MiB are given as JSON where they are JSON, everything else as text up to there. Keys of providers and the run's token are taken out.",
    status: 200,
    answers: json(exchangeDetailSchema),
    errors: ["exchange_not_found", "recording_not_here"],
  },
  runExchangeRequest: {
    tag: "Recordings",
    status: 200,
    answers: { "application/octet-stream": "bytes" },
    errors: ["exchange_not_found", "recording_not_here"],
  },
  runExchangeResponse: {
    tag: "Recordings",
    status: 200,
    answers: { "application/octet-stream": "bytes" },
    errors: ["exchange_not_found", "recording_not_here"],
  },
  replayRun: {
    tag: "Recordings",
    description:
      "A new run with the task and the settings of the first turn, on the same commit, whose agent is answered from the recording. No model is called, nothing is paid, no branch is made. `replay` of the new run says how it differs.",
    status: 201,
    answers: json(runSchema),
    errors: [
      "run_not_ended",
      "not_for_replays",
      "nothing_recorded",
      "recording_not_here",
      "sandbox_not_available",
      "below_isolation_floor",
      "rate_limited",
    ],
  },
  openShell: {
    tag: "Runs",
    description:
      "Makes what `runyard shell` starts in the run's sandbox and workspace: no model, only the run's hosts, and no secrets unless they are asked for. Nothing runs yet: it is started at the server's machine, within half a minute, by whoever may read the server's home. The log tells who asked (`shell.opened`).",
    body: openShellSchema,
    bodyOptional: true,
    status: 201,
    answers: json(openedShellSchema),
    errors: ["workspace_not_kept", "workspace_not_here", "sandbox_not_available"],
  },
  runWorkspace: {
    tag: "Runs",
    description:
      "What a folder of the workspace holds, tracked by git or not, while the run is at work or as long as its workspace is kept. Links are not followed, here and below.",
    query: workspacePathSchema,
    status: 200,
    answers: json(workspaceListSchema),
    errors: ["file_not_found", "workspace_not_kept", "workspace_not_here"],
  },
  workspaceFile: {
    tag: "Runs",
    description: "Byte for byte, up to 2 GiB. Where it becomes shorter while it is read, the answer breaks off.",
    status: 200,
    answers: { "application/octet-stream": "bytes" },
    errors: ["file_not_found", "file_too_large", "file_not_readable", "workspace_not_kept", "workspace_not_here"],
  },
  workspaceArchive: {
    tag: "Runs",
    description:
      "Files, folders, and links as links, with paths that begin in the folder; pipes, sockets and devices are left out. Up to 2 GiB in 200,000 entries. What cannot be read to its end breaks off, without the two blocks of zeros that end an archive.",
    query: workspacePathSchema,
    status: 200,
    answers: { "application/x-tar": "bytes" },
    errors: ["file_not_found", "file_too_large", "file_not_readable", "workspace_not_kept", "workspace_not_here"],
  },
  changePullRequest: {
    tag: "Runs",
    description:
      "Of several pull requests the newest. What is so already is left alone. Without a body it is only looked at; either way the run shows it from then on as it was found.",
    body: changePullRequestSchema,
    bodyOptional: true,
    status: 200,
    answers: json(pullRequestSchema),
    errors: ["no_pull_request", "pull_request_refused", "unavailable"],
  },
  stopPullRequest: {
    tag: "Runs",
    description:
      "Of every run of the organization that made this pull request or goes on with it: one that has not ended is cancelled, and none is continued before the pull request is allowed again. Doing it twice is harmless: it names who was first.",
    body: namePullRequestSchema,
    status: 200,
    answers: json(pullRequestStateSchema),
    errors: ["run_not_found", "pull_request_not_found", "no_pull_request"],
  },
  allowPullRequest: {
    tag: "Runs",
    description: "Runs that were cancelled stay so, and can be continued. Doing it twice is harmless.",
    body: namePullRequestSchema,
    status: 200,
    answers: json(pullRequestStateSchema),
    errors: ["run_not_found", "pull_request_not_found", "no_pull_request"],
  },
  runPlan: { tag: "Plans", status: 200, answers: json(planListSchema) },
  confirmPlan: {
    tag: "Plans",
    description:
      "The run queues again, and its agent carries the plan out. With `text` it is carried out in those words, as a version of its own. The first decision counts.",
    body: confirmPlanSchema,
    bodyOptional: true,
    status: 202,
    answers: json(runSchema),
    errors: ["plan_not_open", "stale_plan"],
  },
  rejectPlan: {
    tag: "Plans",
    description: "The run ends as `cancelled`; it can be continued like any other.",
    body: rejectPlanSchema,
    bodyOptional: true,
    status: 202,
    answers: json(runSchema),
    errors: ["plan_not_open", "stale_plan"],
  },
  revisePlan: {
    tag: "Plans",
    description: "The run queues again, and its agent makes another version of the plan.",
    body: revisePlanSchema,
    status: 202,
    answers: json(runSchema),
    errors: ["plan_not_open", "stale_plan"],
  },
  answerPermission: {
    tag: "Runs",
    description: "The first answer counts. With `remember`, it also decides every later call with the same command or paths.",
    body: answerPermissionSchema,
    status: 200,
    answers: json(runSchema),
    errors: ["request_not_found", "already_answered", "run_ended"],
  },
  answerQuestion: {
    tag: "Runs",
    body: answerQuestionSchema,
    status: 200,
    answers: json(runSchema),
    errors: ["request_not_found", "already_answered", "run_ended"],
  },
  runLogs: {
    tag: "Results",
    description: "Whole messages and finished tools, without the pieces they came in. As text, `Link` names the next page.",
    query: listLogsSchema,
    status: 200,
    answers: { "application/json": logPageSchema, "text/plain": "text" },
  },
  runFiles: {
    tag: "Results",
    query: changeQuerySchema,
    status: 200,
    answers: json(fileListSchema),
    errors: ["repository_not_found", "repository_not_usable"],
  },
  runFile: {
    tag: "Results",
    description: "Changed or not; as the run began while it has no change. Of a symbolic link, the path that it points to.",
    query: changeQuerySchema,
    status: 200,
    answers: { "application/octet-stream": "bytes" },
    errors: ["file_not_found", "file_too_large", "invalid_request", "repository_not_found", "repository_not_usable"],
  },
  runDiff: {
    tag: "Results",
    description: "Hunks behind the first 2 MiB are left out; the patch has all of them.",
    query: changeQuerySchema,
    status: 200,
    answers: json(runDiffSchema),
    errors: ["repository_not_found", "repository_not_usable"],
  },
  runUsage: {
    tag: "Results",
    description: "Sums by turn and by model, and every call, as the run's log has them. What is not known is null.",
    status: 200,
    answers: json(runUsageSchema),
  },
  runMetrics: {
    tag: "Results",
    description:
      "A sample every ten seconds, less often in a run that takes long, and one at the end of each step, from control groups and a look at the disk. What was not measured is null.",
    status: 200,
    answers: json(runMetricsSchema),
  },
  runPatch: {
    tag: "Results",
    query: changeQuerySchema,
    status: 200,
    answers: { "text/x-diff": "text" },
    errors: ["file_too_large", "repository_not_found", "repository_not_usable"],
  },
  runBundle: {
    tag: "Results",
    description:
      "The commits of its change, the very same objects, with one branch, as `git fetch` takes it. What the run started from is not in it.",
    query: changeQuerySchema,
    status: 200,
    answers: { "application/x-git-bundle": "bytes" },
    errors: ["no_result", "file_too_large", "repository_not_found", "repository_not_usable"],
  },
  listAgents: { tag: "Agents", query: listAgentsSchema, status: 200, answers: json(savedAgentPageSchema) },
  createAgent: {
    tag: "Agents",
    description: "A run that names it (`agent.name`) is what it says, where the run does not say otherwise itself.",
    body: createAgentSchema,
    status: 201,
    answers: json(savedAgentSchema),
    errors: ["agent_exists", "unknown_agent", "login_not_usable"],
  },
  getAgent: { tag: "Agents", status: 200, answers: json(savedAgentSchema), errors: ["agent_not_found"] },
  changeAgent: {
    tag: "Agents",
    description:
      "What is left out stays, null takes it away, and the rest is replaced as a whole. It holds for runs that are created from then on.",
    body: changeAgentSchema,
    status: 200,
    answers: json(savedAgentSchema),
    errors: ["agent_not_found", "agent_exists", "unknown_agent", "login_not_usable"],
  },
  deleteAgent: { tag: "Agents", status: 204, answers: {}, errors: ["agent_not_found"] },
  listSecrets: { tag: "Settings", query: listSecretsSchema, status: 200, answers: json(secretPageSchema) },
  setSecret: {
    tag: "Settings",
    description:
      "It belongs to the organization, or to the repository or the saved agent that is named. The value is encrypted, and never given out again.",
    body: setSecretSchema,
    status: 200,
    answers: json(secretSchema),
    errors: ["repository_not_found", "agent_not_found"],
  },
  deleteSecret: { tag: "Settings", status: 204, answers: {}, errors: ["secret_not_found"] },
  listCredentials: { tag: "Settings", query: listCredentialsSchema, status: 200, answers: json(credentialPageSchema) },
  setCredential: {
    tag: "Settings",
    description:
      "Of several whose URL a repository's begins with, the longest counts. It takes the place of the one of this URL. The value is encrypted, shown to the host of the URL only, and never given out again.",
    body: setCredentialSchema,
    status: 200,
    answers: json(credentialSchema),
  },
  deleteCredential: { tag: "Settings", status: 204, answers: {}, errors: ["credential_not_found"] },
  listSnapshots: { tag: "Settings", query: listSnapshotsSchema, status: 200, answers: json(snapshotPageSchema) },
  getSnapshot: { tag: "Settings", status: 200, answers: json(snapshotSchema), errors: ["snapshot_not_found"] },
  deleteSnapshot: {
    tag: "Settings",
    description: "Runs that have begun with it have a copy. Its runner removes it from its disk.",
    status: 204,
    answers: {},
    errors: ["snapshot_not_found"],
  },
  listRepositories: { tag: "Settings", query: listRepositoriesSchema, status: 200, answers: json(repositoryPageSchema) },
  createRepository: {
    tag: "Settings",
    description: "A run makes its repository known too. Of one that is known already, what is given is changed, and the rest stays.",
    body: createRepositorySchema,
    status: 201,
    answers: json(repositorySchema),
    errors: ["repository_not_usable", "unknown_agent"],
  },
  getRepository: { tag: "Settings", status: 200, answers: json(repositorySchema), errors: ["repository_not_found"] },
  changeRepository: {
    tag: "Settings",
    description: "What is left out stays. It holds for runs that are created from then on.",
    body: changeRepositorySchema,
    status: 200,
    answers: json(repositorySchema),
    errors: ["repository_not_found", "unknown_agent"],
  },
  getOrganization: { tag: "Settings", status: 200, answers: json(organizationSchema) },
  changeOrganization: {
    tag: "Settings",
    description: "What is left out stays. It holds for runs that are created from then on.",
    body: changeOrganizationSchema,
    status: 200,
    answers: json(organizationSchema),
  },
  createLoginLink: {
    tag: "Signing in",
    description: "The link begins one session as the token that made it. It works once, for ten minutes.",
    body: createLoginLinkSchema,
    status: 201,
    answers: json(loginLinkSchema),
  },
  login: {
    tag: "Signing in",
    description: "Sets a cookie that is good for twelve hours and sends the browser on.",
    query: z.object({ code: z.string() }),
    status: 303,
    answers: {},
    pages: { 200: "Signed in; the page goes on by itself.", 410: "The link was used, or has expired." },
  },
  logout: { tag: "Signing in", status: 204, answers: {} },
  listModels: {
    tag: "Server",
    description:
      "Each provider is asked for its models, and what it said is kept for some minutes. One that does not answer has a `problem`; its models are missing.",
    status: 200,
    answers: json(modelListSchema),
    errors: ["unavailable"],
  },
  serverStatus: { tag: "Server", status: 200, answers: json(serverStatusSchema) },
  docs: { tag: "Server", status: 200, answers: { "text/html": "text" }, pages: { 401: "How to sign in." } },
  docsFile: { tag: "Server", status: 200, answers: { "text/javascript": "text", "text/css": "text" }, errors: ["not_found"] },
  openapi: { tag: "Server", status: 200, answers: json(z.record(z.string(), z.unknown())) },
  home: { tag: "Server", status: 200, answers: json(serverHomeSchema), pages: { 303: "To the reference, for a browser." } },
  livez: { tag: "Server", status: 200, answers: json(livezSchema) },
  readyz: { tag: "Server", status: 200, answers: json(readinessSchema) },
};
