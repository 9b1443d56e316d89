import { setTimeout as sleep } from "node:timers/promises";
import type { OnStop } from "../configuration.ts";
import { plural, roughDuration, say } from "./output.ts";

/** Sent by `runyard down --drain`: drain, however long it takes. */
export const DRAIN_SIGNAL = "SIGUSR2";
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** How long runs that are to be ended may take for it. */
const KILL_MS = 20_000;
const SAY_EVERY_MS = 30_000;

/** What a server can do about the runs that it has in hand. */
interface Stoppable {
  readonly inHand: number;
  drain(): Promise<void>;
  cancelRuns(reason: string): Promise<void>;
}

export interface StopSignals {
  /** The next one that nobody has waited for yet. */
  next(): Promise<NodeJS.Signals>;
  /** From here on a signal does what signals do. */
  letGo(): void;
}

/** From its call on, signals do not end the process by themselves: also not in the middle of a start. */
export function stopSignals(onAsked: () => void): StopSignals {
  const asked: NodeJS.Signals[] = [];
  let wake = (): void => {};
  const take = (signal: NodeJS.Signals): void => {
    onAsked();
    asked.push(signal);
    wake();
  };
  const all = [...STOP_SIGNALS, DRAIN_SIGNAL] as const;
  for (const signal of all) process.on(signal, take);
  return {
    async next() {
      while (asked.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return asked.shift() ?? "SIGTERM";
    },
    letGo() {
      for (const signal of all) process.off(signal, take);
    },
  };
}

/**
 * Does with the runs in hand what was asked for, before the server leaves; a further signal to stop cuts that
 * short, and what lives then lives on.
 */
export async function seeToRuns(
  server: Stoppable,
  options: { readonly signals: StopSignals; readonly onStop: OnStop; readonly timeoutMs: number },
): Promise<void> {
  const { signals, onStop, timeoutMs } = options;
  for (let signal = await signals.next(), isFirst = true; ; isFirst = false) {
    const isDrain = signal === DRAIN_SIGNAL;
    if (!isDrain && (onStop === "leave" || !isFirst)) return;
    if (!isDrain && onStop === "kill") return killRuns(server, signals);
    const next = await Promise.race([drain(server, isDrain ? null : timeoutMs), signals.next()]);
    if (next === undefined) return;
    signal = next;
  }
}

async function drain(server: Stoppable, timeoutMs: number | null): Promise<undefined> {
  let isOver = false;
  const over = server.drain().then(() => (isOver = true));
  const giveUpAt = timeoutMs === null ? Infinity : Date.now() + timeoutMs;
  if (server.inHand > 0) {
    const bound = timeoutMs === null ? "" : `, at most ${roughDuration(timeoutMs)}`;
    say(`Draining: ${plural(server.inHand, "run")} in hand may end${bound}. New ones stay queued. Ctrl-C leaves at once.`);
  }
  while (!isOver && Date.now() < giveUpAt) {
    await Promise.race([over, sleep(Math.min(SAY_EVERY_MS, giveUpAt - Date.now()), undefined, { ref: false })]);
    if (!isOver && Date.now() < giveUpAt) say(`Draining: ${plural(server.inHand, "run")} in hand.`);
  }
  return undefined;
}

async function killRuns(server: Stoppable, signals: StopSignals): Promise<void> {
  if (server.inHand > 0) say(`Ending ${plural(server.inHand, "run")}…`);
  await Promise.race([server.cancelRuns("The server was stopped"), sleep(KILL_MS, undefined, { ref: false }), signals.next()]);
}
