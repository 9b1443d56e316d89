import { z } from "zod";
import { runIdSchema } from "./ids.ts";

/** Body of `POST /v1/pull-requests/stop` and `/allow`. */
export const namePullRequestSchema = z.strictObject({
  /** The address of its page, or the id of a run, which stands for the newest pull request of that run. */
  pullRequest: z
    .string()
    .trim()
    .max(2_048)
    .refine(
      (text) => /^https?:\/\//i.test(text) || runIdSchema.safeParse(text).success,
      "must be the address of a pull request, or the id of a run",
    ),
});
export type NamePullRequestRequest = z.input<typeof namePullRequestSchema>;

/** Who stopped all agents of a pull request, and when. */
const stoppedSchema = { userId: z.string(), userName: z.string().optional(), at: z.iso.datetime() };

/** Whether agents may go on with a pull request, once it was stopped or allowed again. */
export const pullRequestStateSchema = z.object({
  url: z.string(),
  /** Null: they may. */
  stopped: z.object(stoppedSchema).nullable(),
  /** Runs that this very call has cancelled; those that a runner has in hand end soon. */
  cancelled: z.array(runIdSchema),
});
export type PullRequestState = z.infer<typeof pullRequestStateSchema>;

/** Of a run: which of its pull requests is stopped. */
export const pullRequestStopSchema = z.object({ url: z.string(), ...stoppedSchema });
export type PullRequestStop = z.infer<typeof pullRequestStopSchema>;
