import type { ChecksSettings } from "@runyard/sdk/contract";
import { type ChecksEffect, checksFinished, type ChecksPace, decideChecks, soFarWith } from "../../core/checks.ts";
import { checksFeedback, type FailedCheck, MOST_CHECKS } from "../../core/checks-feedback.ts";
import type { GithubPlace } from "../../core/github-place.ts";
import type { ChecksVerdict } from "../../engine/checks.ts";
import type { Performer, TryResult } from "../../engine/outbox.ts";
import { createGithubChecks, type GithubCheck, type GithubChecks } from "./checks.ts";
import { GithubError } from "./client.ts";

type Effect = Parameters<Performer["perform"]>[0];

export interface ChecksPerformerOptions {
  /** Null: there is none any more. */
  readonly tokenFor: (orgId: string, place: GithubPlace) => Promise<string | null>;
  readonly fetchWith: (signal: AbortSignal) => typeof fetch;
  readonly now: () => number;
  readonly pace: ChecksPace;
  /** Commits what was decided about the run, with the end of the effect. */
  readonly conclude: (effect: Effect, verdict: ChecksVerdict) => Pick<Extract<TryResult, { type: "done" }>, "also" | "after">;
}

/** What is kept from look to look. */
interface Looked {
  readonly picture?: string;
  readonly looks?: number;
}

/**
 * Looks at the checks of a published commit, as an effect of the kind `CHECKS_EFFECT`: each try is one look, and nothing is
 * changed at the other side. It always ends by itself, because a run waits for it.
 */
export function checksPerformer(options: ChecksPerformerOptions): Performer {
  const { pace, now, conclude } = options;
  return {
    // How long it waits is decided by what it sees; this is for when nothing can be seen.
    policy: { firstMs: Math.min(1_000, pace.firstMs), longestMs: Math.min(1_000, pace.firstMs), patienceMs: Number.MAX_SAFE_INTEGER },
    async perform(effect, signal) {
      const { checks, commit, before } = effect.payload as ChecksEffect;
      const ageMs = now() - Date.parse(effect.created_at);
      const end = (verdict: ChecksVerdict): TryResult => ({ type: "done", outcome: verdict.finished, ...conclude(effect, verdict) });
      const unknown = (why: string): TryResult =>
        end({ finished: { commit, outcome: "unknown", rounds: before?.rounds ?? 0, checks: [], message: why }, feedback: null });
      const isTimeOver = ageMs >= checks.timeout;
      try {
        const token = await options.tokenFor(effect.org_id, checks.place);
        if (token === null)
          return unknown(
            `How its checks stand is not known: there is no token for ${checks.place.tokenUrl} any more (runyard credentials add).`,
          );
        const client = createGithubChecks({ repository: checks.place, token, fetch: options.fetchWith(signal), now });
        const seen = await client.list(commit);
        const { picture = null, looks = 0 } = lookedOf(effect);
        const decided = decideChecks({ settings: checks, pace, commit, seen, before, ageMs, looks, picture });
        if (decided.type === "wait") {
          const looked: Looked = { picture: decided.picture, looks: looks + 1 };
          return { type: "later", retryAfterMs: decided.delayMs, problem: looked };
        }
        const finished = checksFinished(decided, { commit, before });
        if (decided.type !== "feed-back") return end({ finished, feedback: null });
        const failed = seen.filter((check) => decided.checks.includes(check));
        const text = await feedbackOf(client, failed, { commit, prompts: checks.prompts });
        return end({ finished, feedback: { text, soFar: soFarWith(before, commit, decided.checks) } });
      } catch (error) {
        if (signal.aborted && !isTimeOver) throw error;
        const never = error instanceof GithubError && !mayBeTooEarly(error, ageMs < pace.graceMs) ? whyNever(error, checks.place) : null;
        if (never !== null || isTimeOver) return unknown(`How its checks stand is not known. ${never ?? String(error)}`);
        const asked = error instanceof GithubError && error.verdict.type === "later" ? error.verdict.retryAfterMs : null;
        const delayMs = Math.max(pace.firstMs, asked ?? 0);
        return { type: "later", retryAfterMs: Math.min(delayMs, checks.timeout - ageMs), problem: lookedOf(effect) };
      }
    },
  };
}

/** A commit that was pushed a moment ago is not known to all of GitHub at once, which then says that there is no such one. */
function mayBeTooEarly({ verdict }: GithubError, isEarly: boolean): boolean {
  return isEarly && verdict.type === "never" && verdict.problem.code === "refused";
}

/** Null: it may pass. */
function whyNever({ verdict, message }: GithubError, place: GithubPlace): string | null {
  if (verdict.type !== "never") return null;
  if (verdict.problem.code !== "not-allowed") return message;
  return `The token for ${place.tokenUrl} may not read them: give it the right to read checks and commit statuses.`;
}

function lookedOf({ problem }: Effect): Looked {
  return problem ?? {};
}

async function feedbackOf(
  client: GithubChecks,
  failed: readonly GithubCheck[],
  how: Pick<ChecksSettings, "prompts"> & { readonly commit: string },
): Promise<string> {
  const details: FailedCheck[] = [];
  for (const check of failed)
    details.push(details.length < MOST_CHECKS ? await client.details(check) : { ...check, annotations: [], log: "" });
  return checksFeedback(details, how);
}
