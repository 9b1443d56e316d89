import type {
  AnswerPermissionRequest,
  changeAgentSchema,
  changeOrganizationSchema,
  changePullRequestSchema,
  changeRepositorySchema,
  confirmPlanSchema,
  continueRunSchema,
  createAgentSchema,
  createRepositorySchema,
  createRunSchema,
  Credential,
  CredentialPage,
  ExchangeDetail,
  ExchangeList,
  ExchangeSide,
  FileList,
  listAgentsSchema,
  listCredentialsSchema,
  listRepositoriesSchema,
  listRunsSchema,
  listSecretsSchema,
  listSnapshotsSchema,
  ModelList,
  OpenedShell,
  openShellSchema,
  Organization,
  namePullRequestSchema,
  PlanList,
  PullRequest,
  PullRequestState,
  RateLimit,
  ReadinessCheck,
  rejectPlanSchema,
  rejectRunSchema,
  Repository,
  RepositoryPage,
  revisePlanSchema,
  Run,
  RunDiff,
  RunEstimate,
  RunMetrics,
  RunPage,
  RunStatus,
  RunUsage,
  SavedAgent,
  SavedAgentPage,
  Scope,
  Secret,
  SecretPage,
  ServerStatus,
  setCredentialSchema,
  setSecretSchema,
  Snapshot,
  SnapshotPage,
  WorkspaceList,
} from "@runyard/sdk/contract";
import type { z } from "zod";

/** Who asks: what a valid bearer token stands for. */
export interface Principal {
  readonly orgId: string;
  readonly tokenId: string;
  readonly userId: string;
  readonly scopes: readonly Scope[];
}

/** One entry of a log, ready to send. */
export interface StoredEvent {
  readonly seq: number;
  readonly type: string;
  /** The whole envelope as JSON on one line. */
  readonly json: string;
}

/** Bytes that are read once. Whoever gets them takes at least one piece, or what they hold stays open. */
export interface SentBytes {
  /** Null: nobody knows it before the end. */
  readonly size: number | null;
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

export interface LogRead {
  /** In order, without gaps, from `after + 1` on; empty when there is nothing newer. */
  readonly events: readonly StoredEvent[];
  /** The run's status in the same snapshot: a terminal one is never seen without its terminal event. */
  readonly status: RunStatus;
}

/** How events are written to a stream: as server-sent events, or an envelope a line. */
export type LogForm = "sse" | "ndjson";

/** A piece of a log as one text, in the form in which it is sent. */
export interface LogText {
  readonly text: string;
  readonly count: number;
  /** The seq of its last event; null where there is none. */
  readonly last: number | null;
  /** Whether there was more to read than this. */
  readonly more: boolean;
  readonly status: RunStatus;
}

/** What a create came to; `replayed`: the run was made before, under the same key. No `rate`: no limit. */
export interface CreatedRun {
  readonly run: Run;
  readonly replayed: boolean;
  readonly rate: RateLimit | null;
}

/**
 * What the door needs of the engine. Methods reject with a RunyardError for everything that has a
 * place in the API (a run of another organization is `run_not_found`); any other rejection is
 * answered with 500 and shows nothing of the inside.
 */
export interface ApiEngine {
  createRun(principal: Principal, input: z.output<typeof createRunSchema>): Promise<CreatedRun>;
  /** What a run would cost; nothing is created. */
  estimateRun(principal: Principal, input: z.output<typeof createRunSchema>): Promise<RunEstimate>;
  listRuns(principal: Principal, query: z.output<typeof listRunsSchema>): Promise<RunPage>;
  getRun(principal: Principal, id: string): Promise<Run>;
  cancelRun(principal: Principal, id: string): Promise<Run>;
  continueRun(principal: Principal, id: string, input: z.output<typeof continueRunSchema>): Promise<Run>;
  /** Lets a run begin that waits because of what it may cost. */
  approveRun(principal: Principal, id: string): Promise<Run>;
  rejectRun(principal: Principal, id: string, input: z.output<typeof rejectRunSchema>): Promise<Run>;
  /** How the run's pull request is at GitHub, once it is as the change says. */
  changePullRequest(principal: Principal, id: string, change: z.output<typeof changePullRequestSchema>): Promise<PullRequest>;
  /** Cancels all runs of a pull request, and lets none go on; the other takes that back. */
  stopPullRequest(principal: Principal, named: z.output<typeof namePullRequestSchema>): Promise<PullRequestState>;
  allowPullRequest(principal: Principal, named: z.output<typeof namePullRequestSchema>): Promise<PullRequestState>;
  /** Runs again what a run did, on its recording. */
  replayRun(principal: Principal, id: string): Promise<Run>;
  exchanges(principal: Principal, id: string): Promise<ExchangeList>;
  exchange(principal: Principal, id: string, exchangeId: string): Promise<ExchangeDetail>;
  /** What was sent or answered, byte for byte. */
  exchangeBytes(principal: Principal, id: string, place: { readonly id: string; readonly side: ExchangeSide }): Promise<Uint8Array>;
  answerPermission(principal: Principal, id: string, permissionId: string, answer: AnswerPermissionRequest): Promise<Run>;
  answerQuestion(principal: Principal, id: string, questionId: string, answer: string): Promise<Run>;
  plan(principal: Principal, id: string): Promise<PlanList>;
  confirmPlan(principal: Principal, id: string, input: z.output<typeof confirmPlanSchema>): Promise<Run>;
  rejectPlan(principal: Principal, id: string, input: z.output<typeof rejectPlanSchema>): Promise<Run>;
  revisePlan(principal: Principal, id: string, input: z.output<typeof revisePlanSchema>): Promise<Run>;
  /** What the run's model calls used and cost. */
  usage(principal: Principal, id: string): Promise<RunUsage>;
  /** What the run used of its machine over time. */
  metrics(principal: Principal, id: string): Promise<RunMetrics>;
  /** What the run changed, as `git diff` writes it. */
  patch(principal: Principal, id: string, repository?: string): Promise<SentBytes>;
  /** The commits that the run made, as a git bundle. */
  bundle(principal: Principal, id: string, repository?: string): Promise<SentBytes>;
  files(principal: Principal, id: string, repository?: string): Promise<FileList>;
  diff(principal: Principal, id: string, repository?: string): Promise<RunDiff>;
  /** A file as the run left it. */
  file(principal: Principal, id: string, path: string, repository?: string): Promise<Uint8Array>;
  /** Prepares a shell in the run's sandbox, for whoever is at the server's machine. */
  openShell(principal: Principal, id: string, wish: z.output<typeof openShellSchema>): Promise<OpenedShell>;
  /** What a folder of its workspace holds, as it is now; a path is from the top, empty for the top. */
  workspace(principal: Principal, id: string, path: string): Promise<WorkspaceList>;
  /** Bytes of one file, and of a folder as a tar archive; `size` is null where it is not known. At least one piece has to be taken. */
  workspaceFile(principal: Principal, id: string, path: string): Promise<SentBytes>;
  workspaceArchive(principal: Principal, id: string, path: string): Promise<SentBytes>;
  listAgents(principal: Principal, query: z.output<typeof listAgentsSchema>): Promise<SavedAgentPage>;
  createAgent(principal: Principal, input: z.output<typeof createAgentSchema>): Promise<SavedAgent>;
  /** By its id or its name, here and below. */
  getAgent(principal: Principal, idOrName: string): Promise<SavedAgent>;
  changeAgent(principal: Principal, idOrName: string, change: z.output<typeof changeAgentSchema>): Promise<SavedAgent>;
  deleteAgent(principal: Principal, idOrName: string): Promise<void>;
  listRepositories(principal: Principal, query: z.output<typeof listRepositoriesSchema>): Promise<RepositoryPage>;
  /** Makes a repository known; one that is known already is answered as it is. */
  createRepository(principal: Principal, input: z.output<typeof createRepositorySchema>): Promise<Repository>;
  getRepository(principal: Principal, id: string): Promise<Repository>;
  changeRepository(principal: Principal, id: string, change: z.output<typeof changeRepositorySchema>): Promise<Repository>;
  getOrganization(principal: Principal): Promise<Organization>;
  changeOrganization(principal: Principal, change: z.output<typeof changeOrganizationSchema>): Promise<Organization>;
  /** Without their values, like the next one. */
  listSecrets(principal: Principal, query: z.output<typeof listSecretsSchema>): Promise<SecretPage>;
  setSecret(principal: Principal, secret: z.output<typeof setSecretSchema>): Promise<Secret>;
  deleteSecret(principal: Principal, id: string): Promise<void>;
  listCredentials(principal: Principal, query: z.output<typeof listCredentialsSchema>): Promise<CredentialPage>;
  setCredential(principal: Principal, credential: z.output<typeof setCredentialSchema>): Promise<Credential>;
  deleteCredential(principal: Principal, id: string): Promise<void>;
  listSnapshots(principal: Principal, query: z.output<typeof listSnapshotsSchema>): Promise<SnapshotPage>;
  getSnapshot(principal: Principal, id: string): Promise<Snapshot>;
  deleteSnapshot(principal: Principal, id: string): Promise<void>;
  status(principal: Principal): Promise<ServerStatus>;
  /** Every provider's models; the same for all organizations. */
  listModels(): Promise<ModelList>;
  readEvents(principal: Principal, id: string, options: { after: number; limit: number }): Promise<LogRead>;
  /** At most `limit` events, and no more than `bytes` of them but for a single longer one. */
  readEventPage(
    principal: Principal,
    id: string,
    page: { readonly after: number; readonly limit: number; readonly bytes: number; readonly form: LogForm },
  ): Promise<LogText>;
  /** Calls `wake` after new events of this run were committed; the returned function ends that. */
  subscribe(runId: string, wake: () => void): () => void;
  /** Everything that taking work needs; it can be taken while nothing of it has failed. */
  readiness(): Promise<readonly ReadinessCheck[]>;
}
