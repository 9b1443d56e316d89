import { z } from "zod";
import type { RateLimit } from "./creating.ts";
import { type ReadinessCheck, readinessCheckSchema } from "./server.ts";

/**
 * Every error of the API: its code says how HTTP answers and whether trying again can help.
 * The shape of an answer is RFC 9457 (problem details) with `code`, `request_id` and, for
 * validation, `errors`.
 */
export const API_ERRORS = {
  invalid_json: { status: 400, retryable: false, title: "The body is not JSON" },
  unauthorized: { status: 401, retryable: false, title: "A valid bearer token is required" },
  forbidden: { status: 403, retryable: false, title: "This token may not do that" },
  foreign_origin: { status: 403, retryable: false, title: "This origin or host is not allowed" },
  not_found: { status: 404, retryable: false, title: "There is nothing here" },
  run_not_found: { status: 404, retryable: false, title: "No such run" },
  request_not_found: { status: 404, retryable: false, title: "No such permission or question" },
  pull_request_not_found: { status: 404, retryable: false, title: "No such pull request" },
  repository_not_found: { status: 404, retryable: false, title: "No such repository" },
  agent_not_found: { status: 404, retryable: false, title: "No such saved agent" },
  secret_not_found: { status: 404, retryable: false, title: "No such secret" },
  credential_not_found: { status: 404, retryable: false, title: "No such credential" },
  snapshot_not_found: { status: 404, retryable: false, title: "No such snapshot" },
  exchange_not_found: { status: 404, retryable: false, title: "No such exchange" },
  file_not_found: { status: 404, retryable: false, title: "No such file" },
  method_not_allowed: { status: 405, retryable: false, title: "This path does not take that method" },
  already_answered: { status: 409, retryable: false, title: "This was answered before" },
  agent_exists: { status: 409, retryable: false, title: "A saved agent has this name" },
  run_not_ended: { status: 409, retryable: false, title: "The run's turn is not over" },
  run_ended: { status: 409, retryable: false, title: "The run has ended" },
  plan_not_open: { status: 409, retryable: false, title: "No plan waits for a decision" },
  approval_not_open: { status: 409, retryable: false, title: "The run does not wait for an approval" },
  stale_plan: { status: 409, retryable: false, title: "The plan has changed in the meantime" },
  no_pull_request: { status: 409, retryable: false, title: "The run has no pull request" },
  pull_request_stopped: { status: 409, retryable: false, title: "All agents of the pull request are stopped" },
  nothing_recorded: { status: 409, retryable: false, title: "No model call of this run is recorded" },
  recording_not_here: { status: 409, retryable: false, title: "The recording is on another machine" },
  workspace_not_kept: { status: 409, retryable: false, title: "The run has no workspace" },
  file_not_readable: { status: 409, retryable: false, title: "The server may not read the file" },
  workspace_not_here: { status: 409, retryable: false, title: "The workspace is on another machine" },
  not_for_replays: { status: 409, retryable: false, title: "A replay cannot do that" },
  no_result: { status: 409, retryable: false, title: "The run has no result" },
  payload_too_large: { status: 413, retryable: false, title: "The body is too large" },
  unsupported_media_type: { status: 415, retryable: false, title: "The body must be application/json" },
  upgrade_required: { status: 426, retryable: false, title: "This path speaks WebSocket" },
  invalid_request: { status: 422, retryable: false, title: "The request is not valid" },
  file_too_large: { status: 422, retryable: false, title: "The file is too large to be handed out" },
  repository_not_usable: { status: 422, retryable: false, title: "The repository cannot be used" },
  checks_not_watchable: { status: 422, retryable: false, title: "The checks of the result cannot be watched" },
  pull_request_refused: { status: 422, retryable: false, title: "The pull request cannot be changed that way" },
  publish_not_possible: { status: 422, retryable: false, title: "The result cannot be published that way" },
  rebase_not_possible: { status: 422, retryable: false, title: "The base branch cannot be brought in" },
  review_not_possible: { status: 422, retryable: false, title: "The pull request cannot be reviewed that way" },
  unknown_agent: { status: 422, retryable: false, title: "No such agent" },
  unknown_secret: { status: 422, retryable: false, title: "No such secret for this run" },
  sandbox_not_available: { status: 422, retryable: false, title: "The sandbox cannot be used on this machine" },
  below_isolation_floor: { status: 422, retryable: false, title: "The sandbox would be below the isolation floor" },
  egress_not_allowed: { status: 422, retryable: false, title: "The organization does not allow these hosts" },
  login_not_usable: { status: 422, retryable: false, title: "The agent's own login cannot be used" },
  budget_not_enforced: { status: 422, retryable: false, title: "The budget can only be advisory" },
  price_unknown: { status: 422, retryable: false, title: "Nobody knows what the model costs" },
  idempotency_mismatch: { status: 422, retryable: false, title: "This idempotency key belongs to another request" },
  rate_limited: { status: 429, retryable: true, title: "Too many requests" },
  internal: { status: 500, retryable: true, title: "Something went wrong in the server" },
  unavailable: { status: 503, retryable: true, title: "The server cannot do this right now" },
} as const;
export type ApiErrorCode = keyof typeof API_ERRORS;

export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: z.string(),
  detail: z.string(),
  request_id: z.string(),
  /** For `invalid_request`: one entry for each field, as a JSON path and a sentence. */
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  /** For `unavailable`, as the answer of `/readyz`: everything that was looked at. */
  checks: z.array(readinessCheckSchema).optional(),
});
/** An error body (application/problem+json). */
export type Problem = z.infer<typeof problemSchema>;

const BRAND = Symbol.for("runyard.error");

/** An error that has a place in the API: thrown by the engine, turned into a problem by the door. */
export class RunyardError extends Error {
  override readonly name = "RunyardError";
  readonly code: ApiErrorCode;
  readonly errors: readonly { path: string; message: string }[] | undefined;
  /** For `rate_limited`: the limit that stands in the way. */
  readonly rate: RateLimit | undefined;
  /** For `unavailable` of `/readyz`: what was looked at. */
  readonly checks: readonly ReadinessCheck[] | undefined;

  constructor(
    code: ApiErrorCode,
    message: string,
    options: {
      errors?: readonly { path: string; message: string }[];
      rate?: RateLimit;
      checks?: readonly ReadinessCheck[];
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.errors = options.errors;
    this.rate = options.rate;
    this.checks = options.checks;
    Object.defineProperty(this, BRAND, { value: true });
  }

  get status(): number {
    return API_ERRORS[this.code].status;
  }

  /** True for errors from any copy of this package, which `instanceof` is not. */
  static is(value: unknown): value is RunyardError {
    return value instanceof Error && BRAND in value;
  }
}
