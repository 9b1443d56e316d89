import { createHash } from "node:crypto";
import { type createRunSchema, type RateLimit, type Run, RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";
import { canonicalJson } from "../core/canonical-json.ts";
import type { CreateDecision, CreateRate, CreateRequest } from "../store/creating.ts";
import type { Principal } from "./identity.ts";

/** What a create came to. */
export interface CreatedRun {
  readonly run: Run;
  /** True when the run was made before, under the same key; it is shown as it stands now. */
  readonly replayed: boolean;
  /** null: the token has no limit. */
  readonly rate: RateLimit | null;
}

/** The same request has the same hash, whatever its order of fields and its white space were, and with defaults given or left out. */
export function createRequestOf(principal: Principal, input: z.output<typeof createRunSchema>): CreateRequest {
  const { idempotencyKey, ...body } = input;
  const bodyHash = createHash("sha256").update(canonicalJson(body)).digest();
  return { orgId: principal.orgId, tokenId: principal.tokenId, key: idempotencyKey ?? null, bodyHash };
}

/** The run that a create gives again, or null where a new one is to be made. Throws `idempotency_mismatch` and `rate_limited`. */
export function runToReplay({ outcome, runId, rate }: CreateDecision): string | null {
  if (outcome === "mismatch") {
    throw new RunyardError(
      "idempotency_mismatch",
      "This idempotency key was used for another request in the last 24 hours. Use a new key for a new run, or send the same request again.",
    );
  }
  if (outcome === "limited" && rate !== null) throw limited(rate);
  return outcome === "replay" ? runId : null;
}

export function rateLimitOf(rate: CreateRate | null): RateLimit | null {
  return rate === null ? null : { policy: "creates", windowMs: 60_000, ...rate };
}

function limited(rate: CreateRate): RunyardError {
  const runs = rate.limit === 1 ? "1 run" : `${rate.limit} runs`;
  const seconds = Math.max(1, Math.ceil(rate.resetMs / 1_000));
  return new RunyardError("rate_limited", `This token may create ${runs} a minute, and has. Try again in ${seconds} s.`, {
    rate: { policy: "creates", windowMs: 60_000, ...rate },
  });
}
