import {
  type AnswerPermissionRequest,
  type continueRunSchema,
  type createRunSchema,
  DEFAULT_AGENT_WAIT_MS,
  DEFAULT_TIMEOUT_MS,
  isTerminal,
  type listRunsSchema,
  type NewEvent,
  type Run,
  type RunError,
  type RunEstimate,
  type RunPage,
  RunyardError,
  type SandboxDriverName,
} from "@runyard/sdk/contract";
import type { z } from "zod";
import type { ExpectedCall } from "../core/estimate.ts";
import { attemptSettingsOf } from "../core/attempts.ts";
import { whyNotGranted } from "../core/limits.ts";
import type { KeptLimits } from "../core/isolation-floor.ts";
import { defaultPolicy, normalizePolicy } from "../core/permission-policy.ts";
import { grantedPermissions, policyWithin, whyNotKept } from "../core/run-permissions.ts";
import { planSettingsOf } from "../core/plan.ts";
import { QUEUED, type RunFact, transition } from "../core/run-machine.ts";
import { withAgent } from "../core/saved-agent.ts";
import { resolveVariables } from "../core/variables.ts";
import { type Answerer, answerPermission } from "../store/answer-permission.ts";
import type { Database } from "../store/database.ts";
import { type LogPageRequest, readEventPage, readEvents, type StoredEvent, type StoredPage } from "../store/events.ts";
import { NO_USAGE } from "../core/usage.ts";
import { type Carry, firstPromptOf, type GoingOn, type NewApproval, type RequestRow, type RunRow, type RunSpec } from "../store/run-row.ts";
import { toRun } from "../store/run-shown.ts";
import { type CreateDecision, createRunOnce, lookBeforeCreate } from "../store/creating.ts";
import type { Vault } from "../store/vault.ts";
import { answerRequest, cancelRun, findRequest, findRun, listRuns, type NewRun, type StoredRun } from "../store/runs.ts";
import { approvalRuleFor, createApprovals, requestedFact } from "./approvals.ts";
import { requireEgress, requireFloor } from "./bounds.ts";
import { continueTurn } from "./continue-run.ts";
import { readPage } from "./cursor.ts";
import { imageFor } from "./container-image.ts";
import { type CreatedRun, createRequestOf, rateLimitOf, runToReplay } from "./creating.ts";
import { estimateRun } from "./estimate.ts";
import { inspectFurther } from "./further-repositories.ts";
import { newId } from "./ids.ts";
import type { Principal } from "./identity.ts";
import { missingModel, modelFor, requireLogin, requireOwnLogin, requirePrice } from "./model.ts";
import { listModels, modelLookUp } from "./models.ts";
import { createPlans } from "./plans.ts";
import { resolveChecks } from "./checks.ts";
import { type AppTokenSource, resolvePublish } from "./publishing.ts";
import { createPullRequestStops } from "./pull-request-stops.ts";
import { createPullRequests, type PullRequestEditor } from "./pull-requests.ts";
import { lookAtReadiness, type ReadinessSources } from "./readiness.ts";
import { createMetrics } from "./metrics.ts";
import { createRecordings, type RecordingReader } from "./recordings.ts";
import { ruleForReleased, ruleToRemember } from "./remember.ts";
import { createReplay } from "./replay-run.ts";
import { type ChangeReader, createResults } from "./results.ts";
import { sealHeaders } from "../store/sealed-headers.ts";
import { createSavedAgents } from "./saved-agents.ts";
import type { AllowedHosts } from "../core/repository-hosts.ts";
import { createCredentials } from "./credentials.ts";
import { createSecrets, requireSecrets } from "./secrets.ts";
import { commitOf } from "./commit-author.ts";
import { createSnapshots } from "./snapshots.ts";
import { resolveStart } from "./run-start.ts";
import { createSettings } from "./settings.ts";
import { inspectFor, type PullRequestReader, requireReviewAllowed } from "./reviews.ts";
import { createStatus, type StatusSources } from "./status.ts";
import { createUsage } from "./usage.ts";
import { CLAIM, control, type Wakes } from "./wakes.ts";
import { createWorkspaces, type WorkspaceHost } from "./workspaces.ts";

/** What creating a run must know of the rooms that the engine does not import; main wires it. */
export interface EngineOptions {
  readonly db: Database;
  readonly wakes: Wakes;
  /** Encrypts secrets. */
  readonly vault: Vault;
  readonly now: () => number;
  /** What the profile needs, or undefined for an unknown one. */
  readonly describeAgent: (profile: string) => AgentNeeds | undefined;
  readonly agentNames: () => readonly string[];
  /** Finds a repository, whose root says what branch it is looked at by default. Throws RunyardError `repository_not_usable`, both times. */
  readonly findRepository: (
    url: string,
    branch: string | undefined,
    orgId: string,
  ) => Promise<{ readonly root: string; readonly inspect: (byDefault?: string) => Promise<InspectedRepository> }>;
  /** Throws RunyardError `repository_not_usable`. */
  readonly inspectRepository: (url: string, branch: string | undefined, orgId: string) => Promise<InspectedRepository>;
  /** Of repositories on other machines: hosts at whatever address, and by http. */
  readonly repositoryHosts: AllowedHosts;
  /** Those of them that are GitHub servers, beside GitHub's own. */
  readonly githubHosts: AllowedHosts;
  readonly editPullRequest: PullRequestEditor;
  readonly readPullRequest: PullRequestReader;
  readonly appToken: AppTokenSource;
  /** Those of the paths that the commit does not have. */
  readonly missingFiles: (repository: InspectedRepository, files: readonly string[]) => Promise<readonly string[]>;
  readonly model: () => ModelState;
  /** Whether somebody knows what a model costs here; null: this server cannot say which provider would answer. */
  readonly isPriced: (model: string | null) => Promise<boolean | null>;
  /** What calls of a model cost together, in nano US dollars; null: nobody knows, or as above. */
  readonly costOf: (model: string | null, calls: readonly ExpectedCall[]) => Promise<number | null>;
  readonly defaultDriver: SandboxDriverName;
  /** The container image of runs with `docker` that name none; null: these are refused. */
  readonly dockerImage: string | null;
  readonly probeSandbox: (driver: SandboxDriverName) => Promise<SandboxState>;
  /**
   * Why a run cannot begin with the login that its agent program holds, in plain sentences; null: it can, or that is on other
   * machines than this one, whose runners say it.
   */
  readonly whyNoLogin: (profile: string) => string | null;
  /** Memory that this machine has. */
  readonly hostMemoryBytes: () => number;
  readonly answers: AnswerLines;
  readonly changes: ChangeReader;
  /** Null: this server executes nothing, so nothing is recorded on its machine. */
  readonly recordings: RecordingReader | null;
  /** Null: this server executes nothing, or is not ready for it yet. */
  readonly workspaces: () => WorkspaceHost | null;
  /** What the next turn of a run goes on from. */
  readonly carryOver: (run: RunRow) => Carry;
  /** What a turn goes on from once somebody has decided about its plan. */
  readonly carryPlanned: (run: RunRow, next: GoingOn["next"]) => Carry;
  readonly status: StatusSources;
  readonly readiness: ReadinessSources;
}

export interface InspectedRepository {
  readonly root: string;
  /** The git directory with its branches, where it is on this machine. */
  readonly gitDir?: string;
  readonly branch: string | null;
  readonly commit: string;
  readonly notices: readonly { readonly code: string; readonly message: string }[];
}

/** Whether agents reach a model through the gateway, and which. */
export interface ModelState {
  readonly connected: boolean;
  readonly simulated: boolean;
  /** That of runs that name none. */
  readonly model: string | null;
  /** Who answers, in order, and the model that each has for runs that name none. Not there in what runners of earlier versions tell. */
  readonly providers?: readonly { readonly api: string; readonly model: string | null }[];
}

/** What an agent needs of models. */
export interface AgentNeeds {
  /** The families of APIs whose providers can answer it; none: it may do without a model. */
  readonly apis: readonly string[];
  /** It takes a model of its own choice where a run names none. */
  readonly picksModel: boolean;
  /** A plain sentence: why it cannot call with a login of its own. Anything else: it can. */
  readonly ownLogin: object | string;
}

export interface SandboxState {
  readonly available: boolean;
  readonly reason: string | null;
  readonly isolation: Parameters<typeof defaultPolicy>[0];
  /** Which limits can be enforced. Not there in what runners of earlier versions tell. */
  readonly limits?: KeptLimits;
}

/** How an answer is said to the agent, and the event that tells of it. */
export interface AnswerLines {
  permission(
    request: RequestRow["request"],
    decision: "allow" | "deny",
    person: Answerer,
  ): { readonly line: string; readonly event: NewEvent };
  question(request: RequestRow["request"], answer: string): { readonly line: string; readonly event: NewEvent };
}

export type Engine = ReturnType<typeof createEngine>;

/** The commands that people and programs give, each as load, decide, commit, and then waking who waits. */
export function createEngine(options: EngineOptions) {
  const { db, wakes, now } = options;
  const lookUpModel = modelLookUp(options.status.models, now);

  const show = (stored: StoredRun): Run => toRun(stored.run, stored.open, now());

  async function load(orgId: string, runId: string): Promise<StoredRun> {
    const stored = await findRun(db, orgId, runId);
    if (stored === undefined) throw new RunyardError("run_not_found", `There is no run ${runId}. Runs are listed by GET /v1/agent-runs.`);
    return stored;
  }

  /** The run that a decision gives again, or null. */
  async function replay(principal: Principal, decision: CreateDecision): Promise<CreatedRun | null> {
    const runId = runToReplay(decision);
    if (runId === null) return null;
    return { run: show(await load(principal.orgId, runId)), replayed: true, rate: rateLimitOf(decision.rate) };
  }

  async function createRun(principal: Principal, input: z.output<typeof createRunSchema>): Promise<CreatedRun> {
    const request = createRequestOf(principal, input);
    // Before anything else is looked at: a run that was made needs neither its repository nor its agent to be shown again.
    const before = await replay(principal, await lookBeforeCreate(db, request));
    if (before !== null) return before;
    const { orgId } = principal;
    const { defaults, given: byRepository, agent, inspect } = await resolveStart(options, orgId, input);
    const { definition } = agent;
    const asked = withAgent({ ...sealedWishes(options, principal, input), login: input.agent?.login }, definition);
    const { settings } = asked;
    const isOwnLogin = asked.login === "own";
    if (isOwnLogin) requireOwnLogin(agent.needs);
    const sandboxDriver = settings.sandboxDriver ?? options.defaultDriver;
    const image = imageFor(sandboxDriver, settings.image, options.dockerImage);
    const sandbox = await options.probeSandbox(sandboxDriver);
    if (!sandbox.available)
      throw new RunyardError("sandbox_not_available", sandbox.reason ?? `The sandbox driver ${sandboxDriver} cannot be used here.`);
    const granted = grantedPermissions(settings.permissions);
    const notKept = whyNotKept(granted, sandbox.isolation);
    if (notKept !== null) throw new RunyardError("sandbox_not_available", notKept);
    const attempts = attemptSettingsOf({ ...settings, verify: byRepository.verify, verifyRetries: input.verifyRetries });
    const tooSmall = whyNotGranted(attempts.sandboxType, options.hostMemoryBytes());
    if (tooSmall !== null) throw new RunyardError("sandbox_not_available", tooSmall);
    const { inspected, spec: reviewing } = await inspectFor(options, input, { orgId, granted, inspect });
    const isReview = reviewing.review !== undefined;
    const further = await inspectFurther(options, input.repositories ?? [], { orgId, first: inspected, isolation: sandbox.isolation });
    const { bounds } = defaults;
    const [ofAgent, ofRun] = [definition.settings, input.settings ?? {}];
    const inSandbox = { driver: sandboxDriver, sandbox };
    const isolationFloor = requireFloor(bounds, { ...inSandbox, agent: ofAgent.isolationFloor, run: ofRun.isolationFloor });
    const egressFrom = requireEgress(bounds, { agent: ofAgent.egress, run: ofRun.egress }, inSandbox);
    const egress = Object.keys(egressFrom);
    const missing = await options.missingFiles(inspected, input.files ?? []);
    const connection = options.model();
    // The maker of such an agent answers it, and nobody else.
    const callsOwn = isOwnLogin && !connection.simulated;
    if (callsOwn) requireLogin(options, definition.profile, asked.budget);
    const named = connection.connected && !connection.simulated && !callsOwn ? asked.model : undefined;
    const notices = named === undefined ? [] : await lookUpModel(named);
    const model = asked.model ?? (callsOwn ? null : modelFor(connection, agent.needs).model);
    const { publish, pullRequest } = input;
    const publishing = await resolvePublish(options, {
      orgId: principal.orgId,
      repositoryUrl: inspected.root,
      granted,
      publish: isReview ? "none" : publish,
      pullRequest,
      defaults: defaults.publish,
    });
    const repository = { ...inspected, notices: [...inspected.notices, ...further.notices, ...notices, ...publishing.notices] };
    const checks = await resolveChecks(options, {
      orgId: principal.orgId,
      repositoryUrl: repository.root,
      publishes: publishing.spec.publish !== "none",
      watch: isReview ? false : input.watchChecks,
      settings: defaults.checks,
    });
    // Somebody else decides what a review has in its workspace: it is given what it names itself, and runs no set-up.
    const byDefault = isReview ? [] : defaults.variables;
    const given = resolveVariables([...byDefault, definition, input]);
    const names = given.secrets ?? [];
    const within = { isIsolated: sandbox.isolation.network !== "none", egressAllowed: bounds.egressAllowed };
    await requireSecrets(options, { orgId: principal.orgId, names, repositoryUrl: repository.root, agentId: agent.id, ...within });
    const turn = { orgId: principal.orgId, repositoryUrl: repository.root, profile: definition.profile, model, prompt: input.task };
    const setup = isReview ? null : input.setup === undefined ? defaults.setup : input.setup;
    const rule = await approvalRuleFor(options, {
      ...turn,
      isPriced: !callsOwn,
      number: 1,
      limits: [settings.approvalAboveUsd, ...defaults.approvalLimits],
    });
    const spec: RunSpec = {
      agent: { name: agent.name, profile: definition.profile, command: definition.command },
      ...(isOwnLogin && { login: asked.login }),
      model,
      permissionPolicy: policyWithin(
        granted,
        asked.permissionPolicy ? normalizePolicy(asked.permissionPolicy, sandbox.isolation) : defaultPolicy(sandbox.isolation),
      ),
      ...(settings.permissions !== undefined && { permissions: granted }),
      isolationFloor,
      ...(egress.length > 0 && { egress, egressFrom }),
      timeoutMs: settings.timeout ?? DEFAULT_TIMEOUT_MS,
      sandboxDriver,
      ...(image !== null && { image }),
      agentWaitMs: settings.agentWait ?? DEFAULT_AGENT_WAIT_MS,
      attempts,
      plan: planSettingsOf({ plan: asked.plan, ...settings }, defaults.plan),
      ...(further.repositories.length > 0 && { repositories: further.repositories }),
      ...(setup !== null && { setup }),
      ...(definition.instructions !== null && { instructions: definition.instructions }),
      ...(input.context !== undefined && { context: input.context }),
      ...(input.files !== undefined && { files: input.files }),
      ...(asked.mcpServers.length > 0 && { mcpServers: asked.mcpServers }),
      ...(asked.budget !== null && { budget: asked.budget }),
      ...given,
      ...(await commitOf(db, principal, defaults.commit)),
      ...(rule.aboveUsd !== null && { approvalAboveUsd: rule.aboveUsd }),
      ...publishing.spec,
      givenFrom: byRepository.from,
      ...reviewing,
      ...checks,
    };
    const error = callsOwn ? null : missingModel(connection, { agent: { profile: definition.profile, ...agent.needs }, model });
    if (!callsOwn && agent.needs.apis.length > 0 && error === null) await requirePrice(options, spec.budget, model);
    const approval = error === null ? rule.approval : null;
    const newRun: NewRun = {
      id: newId("run"),
      orgId: principal.orgId,
      userId: principal.userId,
      repositoryId: newId("repo"),
      task: input.task,
      repositoryUrl: repository.root,
      branch: repository.branch,
      baseCommit: repository.commit,
      spec,
      simulated: connection.simulated,
      usage: NO_USAGE,
      status: error !== null ? "failed" : approval !== null ? "awaiting_input" : "pending",
      error,
      events: creationEvents({ task: input.task, repository, missing, spec, simulated: connection.simulated, error, approval }),
      agentId: agent.id,
      ...(approval !== null && { approval }),
    };
    const created = await createRunOnce(db, newRun, { ...request, mayBegin: (tx) => requireReviewAllowed(tx, spec) });
    const sameKey = await replay(principal, created);
    if (sameKey !== null) return sameKey;
    if (created.run === undefined) throw new Error("A create that was admitted stored no run");
    wakes.notify(CLAIM);
    const open = approval === null ? [] : [{ ...approval, kind: "approval" as const }];
    return { run: show({ run: created.run, open }), replayed: false, rate: rateLimitOf(created.rate) };
  }

  async function cancel(principal: Principal, runId: string): Promise<Run> {
    const reason = "Cancelled by a person";
    const { run } = await load(principal.orgId, runId);
    if (isTerminal(run.status)) throw ended(run.id, run.status);
    const events = eventsFrom({ type: "cancelled", reason });
    const cancelled = await cancelRun(db, { orgId: principal.orgId, runId, reason, events });
    const after = await load(principal.orgId, runId);
    if (cancelled === undefined) throw ended(runId, after.run.status);
    wakes.notify(runId);
    wakes.notify(control(runId));
    return show(after);
  }

  async function answer(
    principal: Principal,
    request: { runId: string; requestId: string; kind: RequestRow["kind"] },
    commit: (row: RequestRow, run: RunRow) => Promise<unknown>,
  ): Promise<Run> {
    const { runId, requestId, kind } = request;
    const { run } = await load(principal.orgId, runId);
    const row = await findRequest(db, { orgId: principal.orgId, runId, requestId });
    if (row === undefined || row.kind !== kind) {
      throw new RunyardError(
        "request_not_found",
        `Run ${runId} has no ${kind} ${requestId}. \`waitingFor\` of the run lists what is open.`,
      );
    }
    if (row.answer !== null) throw new RunyardError("already_answered", `${requestId} was answered before; the first answer counts.`);
    if (isTerminal(run.status)) throw ended(runId, run.status);
    if ((await commit(row, run)) === undefined)
      throw new RunyardError("already_answered", `${requestId} is not open any more: somebody answered it, or its attempt is over.`);
    wakes.notify(runId);
    wakes.notify(control(runId));
    // Of a run whose agent was let go, the last answer queues it.
    wakes.notify(CLAIM);
    return show(await load(principal.orgId, runId));
  }

  return {
    ...createResults(options.changes, load),
    ...createRecordings(options.recordings, load),
    ...createPlans(options, load),
    ...createPullRequests(options, load),
    ...createPullRequestStops(options, load),
    ...createApprovals(options, load),
    ...createUsage(db, load),
    ...createMetrics(db, load),
    ...createWorkspaces(options, load),
    ...createSettings(options),
    ...createSecrets(options),
    ...createCredentials(options),
    ...createSnapshots(options),
    ...createSavedAgents(options),
    status: createStatus(options),
    listModels: () => listModels(options.status),
    createRun,
    cancelRun: cancel,

    async continueRun(principal: Principal, runId: string, input: z.output<typeof continueRunSchema>): Promise<Run> {
      await continueTurn(options, (await load(principal.orgId, runId)).run, input);
      // Read before anybody is woken: with its place in the queue.
      const stored = await load(principal.orgId, runId);
      wakes.notify(runId);
      wakes.notify(CLAIM);
      return show(stored);
    },

    /** Runs again what a run did, on its recording. */
    async replayRun(principal: Principal, runId: string): Promise<Run> {
      const { run: recorded } = await load(principal.orgId, runId);
      const { task, repository_url: root, branch, base_commit: commit, spec, simulated } = recorded;
      const repository = { root, branch, commit, notices: [] };
      const events = creationEvents({ task, repository, missing: [], spec, simulated, error: null, approval: null, replayOf: recorded.id });
      const run = await createReplay(options, principal, { recorded, events });
      wakes.notify(CLAIM);
      return show({ run, open: [] });
    },

    async estimateRun(principal: Principal, input: z.output<typeof createRunSchema>): Promise<RunEstimate> {
      const { defaults, agent, inspect } = await resolveStart(options, principal.orgId, input);
      const { definition, needs } = agent;
      const { login, ...asked } = withAgent({ ...input, login: input.agent?.login }, definition);
      if (login === "own") requireOwnLogin(needs);
      const model = asked.model ?? (login === "own" ? null : modelFor(options.model(), needs).model);
      return estimateRun(options, {
        turn: {
          orgId: principal.orgId,
          repositoryUrl: (await inspect()).root,
          profile: definition.profile,
          model,
          isPriced: login !== "own",
          prompt: input.task,
        },
        settings: asked.settings,
        limits: defaults.approvalLimits,
      });
    },

    async getRun(principal: Principal, runId: string): Promise<Run> {
      return show(await load(principal.orgId, runId));
    },

    listRuns({ orgId }: Principal, query: z.output<typeof listRunsSchema>): Promise<RunPage> {
      const status = query.status ?? null;
      return readPage(query, { read: (page) => listRuns(db, { orgId, status, ...page }), show, num: ({ run }) => run.num });
    },

    answerPermission(principal: Principal, runId: string, requestId: string, given: AnswerPermissionRequest): Promise<Run> {
      const { orgId, userId: by } = principal;
      const { decision } = given;
      return answer(principal, { runId, requestId, kind: "permission" }, (row, run) => {
        const rule = run.owner === null ? ruleForReleased(row, run, given) : ruleToRemember(row, given);
        const say = (person: Answerer) => options.answers.permission(row.request, decision, person);
        return answerPermission(db, { orgId, runId, requestId, answer: decision, by, rule, say });
      });
    },

    answerQuestion(principal: Principal, runId: string, requestId: string, text: string): Promise<Run> {
      const { orgId, userId: by } = principal;
      return answer(principal, { runId, requestId, kind: "question" }, (row) =>
        answerRequest(db, { orgId, runId, requestId, answer: text, by, ...options.answers.question(row.request, text) }),
      );
    },

    async readEvents(
      principal: Principal,
      runId: string,
      page: { readonly after: number; readonly limit: number },
    ): Promise<{ events: readonly StoredEvent[]; status: Run["status"] }> {
      const read = await readEvents(db, { orgId: principal.orgId, runId, ...page });
      if (read === undefined) throw new RunyardError("run_not_found", `There is no run ${runId}.`);
      return read;
    },

    async readEventPage(principal: Principal, runId: string, page: LogPageRequest): Promise<StoredPage> {
      const read = await readEventPage(db, { orgId: principal.orgId, runId, ...page });
      if (read === undefined) throw new RunyardError("run_not_found", `There is no run ${runId}.`);
      return read;
    },

    subscribe(runId: string, wake: () => void): () => void {
      return wakes.subscribe(runId, wake);
    },

    readiness: () => lookAtReadiness(options),
  };
}

function creationEvents(created: {
  task: string;
  repository: InspectedRepository;
  missing: readonly string[];
  spec: RunSpec;
  simulated: boolean;
  error: RunError | null;
  approval: NewApproval | null;
  replayOf?: string;
}): NewEvent[] {
  const { task, repository, missing, spec, simulated, error, approval, replayOf } = created;
  const events: NewEvent[] = [
    {
      type: "run.created",
      data: {
        task,
        repositoryUrl: repository.root,
        branch: repository.branch,
        baseCommit: repository.commit,
        ...(spec.repositories !== undefined && { repositories: [...spec.repositories] }),
        agent: spec.agent,
        model: spec.model,
        simulated,
        permissionPolicy: spec.permissionPolicy,
        ...(replayOf !== undefined && { replayOf }),
      },
    },
    { type: "message.user", data: { text: firstPromptOf({ task, spec }) } },
  ];
  for (const notice of [...repository.notices, ...missingNotice(missing, repository.commit)])
    events.push({ type: "notice", data: { level: "warning", ...notice } });
  if (error !== null) events.push({ type: "run.failed", data: { error } });
  if (approval !== null) events.push(...eventsFrom(requestedFact(approval)));
  return events;
}

/** The values of headers are encrypted from here on. */
function sealedWishes(
  { vault }: Pick<EngineOptions, "vault">,
  { orgId }: Principal,
  input: z.output<typeof createRunSchema>,
): Parameters<typeof withAgent>[0] {
  return input.mcpServers === undefined ? input : { ...input, mcpServers: sealHeaders(vault, orgId, input.mcpServers) };
}

const MISSING_NAMED = 10;

function missingNotice(missing: readonly string[], commit: string): InspectedRepository["notices"] {
  if (missing.length === 0) return [];
  const more = missing.length - MISSING_NAMED;
  const names = `${missing.slice(0, MISSING_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  const message = `The agent is told to look at what the commit ${commit.slice(0, 10)} does not have: ${names}`;
  return [{ code: "file-missing", message }];
}

/** The events of what can always happen to a queued run. */
function eventsFrom(fact: Extract<RunFact, { type: "cancelled" | "approval_requested" }>): readonly NewEvent[] {
  const decided = transition(QUEUED, fact);
  if (!decided.ok) throw new Error(`${fact.type} can always happen to a queued run`);
  return decided.events;
}

function ended(runId: string, status: string): RunyardError {
  return new RunyardError("run_ended", `Run ${runId} has ended (${status}).`);
}
