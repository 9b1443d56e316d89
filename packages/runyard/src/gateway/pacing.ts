import type { IncomingMessage } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { callUpstream, type UpstreamCall } from "./upstream.ts";

/** Too many requests, and Anthropic's "overloaded". */
const BUSY: ReadonlySet<number> = new Set([429, 529]);
const MAX_TRIES = 3;
/** How long a call may wait for its turns altogether. */
const MAX_WAIT_MS = 60_000;
/** After a provider was busy its calls set out one by one, so far apart, for a while. */
const SPACING_MS = 100;
const SPACED_FOR_MS = 10_000;

/** Makes model calls at the pace that providers ask for. */
export interface Pacer {
  /**
   * Calls a provider as `callUpstream` does. One that is too busy and says for how long is asked again then, by this call
   * and by all others: at most three times and 60 seconds, then its answer is the caller's.
   */
  call(provider: string, call: UpstreamCall, onTry?: () => void): Promise<IncomingMessage>;
}

/** What is known of a provider that was busy. */
interface Pace {
  /** When the next call may set out. */
  nextAt: number;
  /** Until when calls are spaced. */
  until: number;
}

export function createPacer(now: () => number = () => performance.now()): Pacer {
  const paces = new Map<string, Pace>();

  /** Waits for the call's turn, or until `giveUpAt`. */
  const takeTurn = async (provider: string, giveUpAt: number, signal: AbortSignal): Promise<void> => {
    const pace = paces.get(provider);
    if (pace === undefined) return;
    if (pace.until < now()) {
      paces.delete(provider);
      return;
    }
    const at = Math.max(now(), pace.nextAt);
    pace.nextAt = at + SPACING_MS;
    const delay = Math.min(at, giveUpAt) - now();
    if (delay > 0) await wait(delay, undefined, { signal }).catch(() => signal.throwIfAborted());
  };

  return {
    async call(provider, call, onTry = () => undefined) {
      const giveUpAt = now() + MAX_WAIT_MS;
      for (let tries = 1; ; tries += 1) {
        await takeTurn(provider, giveUpAt, call.signal);
        onTry();
        const answer = await callUpstream(call);
        const delay = BUSY.has(answer.statusCode ?? 0) ? retryAfterMs(answer.headers) : null;
        if (delay === null || now() + delay > giveUpAt) return answer;
        const resumeAt = now() + delay;
        const pace = paces.get(provider);
        // Others may know already, and their turns are counted from then.
        paces.set(provider, { nextAt: Math.max(pace?.nextAt ?? 0, resumeAt), until: Math.max(pace?.until ?? 0, resumeAt + SPACED_FOR_MS) });
        if (tries === MAX_TRIES) return answer;
        answer.destroy();
      }
    },
  };
}

/** How long a provider asks to be left alone, in milliseconds, or null where it does not say. */
function retryAfterMs(headers: IncomingMessage["headers"]): number | null {
  const ms = headers["retry-after-ms"];
  if (typeof ms === "string" && /^\d+(\.\d+)?$/.test(ms)) return Number(ms);
  const told = headers["retry-after"];
  if (told === undefined) return null;
  if (/^\d+(\.\d+)?$/.test(told)) return Number(told) * 1_000;
  const at = Date.parse(told);
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}
