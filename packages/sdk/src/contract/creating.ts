import { z } from "zod";

/** A name of the client's own for one create: asked for again under it within 24 hours, the same run comes back. */
export const idempotencyKeySchema = z.string().regex(/^[\x21-\x7e]{1,255}$/, "must be 1 to 255 visible ASCII characters, without spaces");

/** How a token stands against one of its limits; the headers `RateLimit` and `RateLimit-Policy` say the same. */
export interface RateLimit {
  readonly policy: "creates";
  /** Most in any window. */
  readonly limit: number;
  readonly windowMs: number;
  /** What is left of it now. */
  readonly remaining: number;
  /** Milliseconds until there is one more. */
  readonly resetMs: number;
}
