import { control } from "../engine/wakes.ts";
import { watchRunDirectory } from "../sandbox/run-directory.ts";
import type { RunnerContext } from "./context.ts";

/** Waiting for news of a turn: from the agent (its run directory), from people, of its end, of the server's leaving. */
export interface TurnBell {
  /** True once after people did something to the run, and in the beginning. */
  takeControl(): boolean;
  /** Forgets earlier news; what comes from now on ends the next wait. */
  reset(): void;
  /** Resolves at the next news, and after `maxMs` where that is given. */
  wait(maxMs: number | null): Promise<void>;
  close(): void;
}

export function turnBell(ctx: RunnerContext, of: { readonly runId: string; readonly dir: string; readonly end: AbortSignal }): TurnBell {
  const signals = [ctx.leaving, of.end];
  let wake: (() => void) | null = null;
  let rung = false;
  let controlled = true;
  const ring = (): void => {
    rung = true;
    wake?.();
  };
  const watch = watchRunDirectory(of.dir, ring);
  const unsubscribe = ctx.wakes.subscribe(control(of.runId), () => {
    controlled = true;
    ring();
  });
  for (const signal of signals) signal.addEventListener("abort", ring);

  return {
    takeControl() {
      const was = controlled;
      controlled = false;
      return was;
    },
    reset() {
      rung = false;
    },
    async wait(maxMs) {
      if (rung) return;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (maxMs !== null) timer = setTimeout(resolve, maxMs);
      });
      clearTimeout(timer);
      wake = null;
    },
    close() {
      watch.close();
      unsubscribe();
      for (const signal of signals) signal.removeEventListener("abort", ring);
    },
  };
}
