import type { RateLimit } from "@runyard/sdk/contract";
import type { ApiContext } from "./context.ts";

/** Says how a limit stands, in the form of draft-ietf-httpapi-ratelimit-headers-10. */
export function sayRateLimit(c: ApiContext, rate: RateLimit): void {
  c.header("RateLimit-Policy", `"${rate.policy}";q=${rate.limit};w=${rate.windowMs / 1_000}`);
  c.header("RateLimit", `"${rate.policy}";r=${rate.remaining};t=${secondsOf(rate)}`);
}

/** The same, with when to come back, for an answer that refuses because of it. */
export function sayRetryAfter(c: ApiContext, rate: RateLimit): void {
  sayRateLimit(c, rate);
  c.header("Retry-After", String(secondsOf(rate)));
}

function secondsOf({ resetMs }: RateLimit): number {
  return Math.max(1, Math.ceil(resetMs / 1_000));
}
