import type { RejectRunRequest } from "../contract/approval.ts";
import type { RunEstimate } from "../contract/estimate.ts";
import type { RouteName } from "../contract/routes.ts";
import type { AnswerPermissionRequest, ContinueRunRequest, CreateRunRequest, ListRunsQuery, Run, RunPage } from "../contract/run.ts";
import type { RunEvent } from "../contract/events.ts";
import { isTerminal } from "../contract/status.ts";
import { asRun, checked } from "./answers.ts";
import { type EventsOptions, streamEvents, type UnknownEvent } from "./event-stream.ts";
import { checkedIdempotencyKey, newIdempotencyKey } from "./idempotency-key.ts";
import { listFrom } from "./list.ts";
import { type PathParams, pathOf } from "./paths.ts";
import { createPlans, type RunPlans } from "./plans.ts";
import { createPullRequests, type RunPullRequests } from "./pull-requests.ts";
import { createRecordings, type RunRecordings } from "./recordings.ts";
import { createResults, type RunResults } from "./results.ts";
import type { RequestOptions, Transport } from "./transport.ts";
import { createWorkspaces, type RunWorkspaces } from "./workspaces.ts";

/** A page of runs to `await`, or all runs from there on to iterate over. */
export type RunList = Promise<RunPage> & AsyncIterable<Run>;

const JSON_TYPE = "application/json";

/** Runs of the token's organization: `client.runs`. */
export interface Runs extends RunResults, RunPlans, RunPullRequests, RunRecordings, RunWorkspaces {
  /**
   * Creates a run. Each call has a key (`idempotencyKey`, else one of its own) under which the server makes
   * one run and no more, so that it is safe to try again, and is. Give a key to repeat a call later, within
   * 24 hours: the same request under the same key gives the same run.
   *
   * @example
   * ```ts
   * const run = await client.runs.create({ task: "Fix the failing test", repositoryUrl: "/home/me/project" });
   * ```
   */
  create(input: CreateRunRequest, options?: RequestOptions): Promise<Run>;

  /**
   * What a run would cost and take, by runs of the same agent on the same repository, else by a rough formula. Nothing is created.
   *
   * @example
   * ```ts
   * const { cost, range } = await client.runs.estimate({ task: "Fix the failing test", repositoryUrl: "/home/me/project" });
   * if (cost === null || cost > 5) console.warn("Ask somebody first", range);
   * ```
   */
  estimate(input: CreateRunRequest, options?: RequestOptions): Promise<RunEstimate>;

  /**
   * Lets a run begin that waits for a person because of what it may cost (`approvalAboveUsd`): `waitingFor` has an
   * `approval`, with the estimate. Doing it twice is harmless.
   *
   * @example
   * ```ts
   * const run = await client.runs.create({ task: "Fix the failing test", repositoryUrl: "/home/me/project" });
   * const open = run.waitingFor.find(({ kind }) => kind === "approval");
   * if (open !== undefined) await client.runs.approve(run.id);
   * ```
   */
  approve(id: string, options?: RequestOptions): Promise<Run>;

  /** Rejects such a run, which ends as `cancelled`. Doing it twice is harmless. */
  reject(id: string, decision?: RejectRunRequest, options?: RequestOptions): Promise<Run>;

  /** Reads a run. */
  get(id: string, options?: RequestOptions): Promise<Run>;

  /**
   * Runs, newest first.
   *
   * @example
   * ```ts
   * const page = await client.runs.list({ status: "running", limit: 50 });
   * for await (const run of client.runs.list()) console.log(run.id, run.status);
   * ```
   */
  list(query?: ListRunsQuery, options?: RequestOptions): RunList;

  /** Asks a run to stop; it has stopped when its status says so. Asking twice is harmless. */
  cancel(id: string, options?: RequestOptions): Promise<Run>;

  /**
   * Goes on with a run whose turn has ended, however it ended: the same workspace, conversation and log, the
   * next turn. With `plan` it makes a plan first, or does not; with `budget` it has another one; with `rebase`
   * what the base branch is by now is brought in first, and the prompt may be null; with `allowPullRequest`
   * also where all agents of its pull request were stopped. It is not tried again after an error, because it
   * may have begun.
   *
   * @example
   * ```ts
   * const ended = await client.runs.waitForEnd(run.id);
   * await client.runs.continue(run.id, "Now add a test for it");
   * for await (const event of client.runs.events(run.id, { after: ended.lastSeq })) console.log(event.type);
   * ```
   */
  continue(
    id: string,
    prompt: string,
    options?: RequestOptions & Pick<ContinueRunRequest, "plan" | "budget" | "rebase" | "allowPullRequest">,
  ): Promise<Run>;
  continue(
    id: string,
    prompt: null,
    options: RequestOptions & Pick<ContinueRunRequest, "plan" | "budget" | "allowPullRequest"> & { readonly rebase: true },
  ): Promise<Run>;

  /**
   * Answers an agent's request for permission; open ones are in the run's `waitingFor`. With `remember`, every later
   * call of the same kind with the same command or paths is decided the same way, for the rest of the run.
   */
  answerPermission(
    id: string,
    permissionId: string,
    decision: AnswerPermissionRequest["decision"],
    options?: RequestOptions & { readonly remember?: boolean },
  ): Promise<Run>;

  /** Answers an agent's question; open ones are in the run's `waitingFor`. */
  answerQuestion(id: string, questionId: string, answer: string, options?: RequestOptions): Promise<Run>;

  /**
   * A run's events as they happen, from the first one (or behind `after`) to the end of its turn. A
   * connection that breaks is made again where it broke: each event comes once, in order. A newer
   * server's events come as it sent them: skip what you do not know.
   *
   * @example
   * ```ts
   * for await (const event of client.runs.events(run.id)) {
   *   if (!isKnownEvent(event)) continue;
   *   if (event.type === "message.delta") process.stdout.write(event.data.text);
   * }
   * ```
   */
  events(id: string, options?: EventsOptions): AsyncGenerator<RunEvent | UnknownEvent, void>;

  /**
   * Waits until a run has ended, however it ends, and reads it.
   *
   * @example
   * ```ts
   * const ended = await client.runs.waitForEnd(run.id);
   * if (ended.status !== "completed") throw new Error(ended.error?.message ?? ended.status);
   * ```
   */
  waitForEnd(id: string, options?: { readonly signal?: AbortSignal }): Promise<Run>;
}

export function createRuns(transport: Transport, idleMs: number): Runs {
  const post = async (
    route: RouteName,
    params: PathParams,
    call: { body?: unknown; headers?: Readonly<Record<string, string>>; repeatable: boolean; options: RequestOptions | undefined },
  ): Promise<Run> => {
    const { options, ...request } = call;
    return asRun(await transport.json({ method: "POST", path: pathOf(route, params), accept: JSON_TYPE, ...request }, options));
  };
  const get = async (id: string, options?: RequestOptions): Promise<Run> =>
    asRun(await transport.json({ method: "GET", path: pathOf("getRun", { id }), accept: JSON_TYPE, repeatable: true }, options));
  const events = (id: string, options: EventsOptions = {}): AsyncGenerator<RunEvent | UnknownEvent, void> =>
    streamEvents(transport, { ...options, path: pathOf("runEvents", { id }), idleMs });

  return {
    ...createResults(transport, idleMs),
    ...createPlans(transport),
    ...createPullRequests(transport),
    ...createRecordings(transport),
    ...createWorkspaces(transport),
    get,
    events,
    create: async ({ idempotencyKey = newIdempotencyKey(), ...body }, options) => {
      const headers = { "idempotency-key": checkedIdempotencyKey(idempotencyKey) };
      return post("createRun", {}, { body, headers, repeatable: true, options });
    },
    estimate: async (input, options) => {
      const request = { method: "POST", path: pathOf("estimateRun"), accept: JSON_TYPE, body: input, repeatable: true } as const;
      return checked(await transport.json(request, options), { basis: "string", runs: "number" }) as RunEstimate;
    },
    approve: (id, options) => post("approveRun", { id }, { repeatable: true, options }),
    reject: (id, decision = {}, options) => post("rejectRun", { id }, { body: decision, repeatable: true, options }),
    list: ({ limit, status, cursor } = {}, options) =>
      listFrom<RunPage, Run>(transport, "listRuns", { query: { limit: limit as number, status, cursor }, check: asRun, options }),
    cancel: (id, options) => post("cancelRun", { id }, { repeatable: true, options }),
    continue: (id, prompt, options) => {
      const { plan, budget, rebase, allowPullRequest } = options ?? {};
      const words = prompt === null ? {} : { prompt };
      const body: ContinueRunRequest = {
        ...words,
        ...(rebase === undefined ? {} : { rebase }),
        ...(plan === undefined ? {} : { plan }),
        ...(budget === undefined ? {} : { budget }),
        ...(allowPullRequest === undefined ? {} : { allowPullRequest }),
      };
      return post("continueRun", { id }, { body, repeatable: false, options });
    },
    answerPermission: (id, pid, decision, options) => {
      const body: AnswerPermissionRequest = options?.remember === true ? { decision, remember: true } : { decision };
      return post("answerPermission", { id, pid }, { body, repeatable: false, options });
    },
    answerQuestion: (id, qid, answer, options) => post("answerQuestion", { id, qid }, { body: { answer }, repeatable: false, options }),
    waitForEnd: async (id, options = {}) => {
      for (;;) {
        const run = await get(id, options);
        if (isTerminal(run.status)) return run;
        for await (const _ of events(id, { after: run.lastSeq, ...options })) void _;
      }
    },
  };
}
