import type { BranchProblem, BranchProblemCode, RunyardError } from "@runyard/sdk/contract";
import { type RemoteOutcome, remoteOutcome } from "./remote-error.ts";

/** The cause of an error that no command of git has told of: what stands between a result and its branch. */
export class BranchObstacle extends Error {
  override readonly name = "BranchObstacle";
  readonly code: BranchProblemCode;
  constructor(code: BranchProblemCode, options?: ErrorOptions) {
    super(code, options);
    this.code = code;
  }
}

const CODES: Readonly<Record<RemoteOutcome, BranchProblemCode>> = {
  "authentication-failed": "not-authenticated",
  "not-permitted": "not-allowed",
  declined: "declined",
  archived: "archived",
  "non-fast-forward": "branch-in-the-way",
  "not-found": "not-found",
  moved: "moved",
  "host-key": "host-key",
  certificate: "certificate",
  "address-refused": "address-refused",
  network: "unavailable",
  timeout: "unavailable",
  "too-large": "too-large",
  unknown: "failed",
};

/** What the result of a run says of an error that kept it from its branch. */
export function branchProblemOf(error: RunyardError): BranchProblem {
  const outcome = remoteOutcome(error);
  const code = outcome === null ? (obstacleOf(error)?.code ?? "failed") : CODES[outcome];
  const advice = "The result is kept: `runyard diff` shows it, and `runyard continue` publishes again once that is solved.";
  return { code, message: `${error.message}. ${advice}` };
}

function obstacleOf(error: unknown): BranchObstacle | null {
  if (error instanceof BranchObstacle) return error;
  return error instanceof Error && error.cause !== undefined ? obstacleOf(error.cause) : null;
}
