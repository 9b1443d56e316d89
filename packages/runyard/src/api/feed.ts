import type { ApiEngine } from "./engine.ts";
import { createPages, type LogPage, type PageRequest } from "./pages.ts";

/** One run's log for all of its readers in this process. */
export interface LogFeed {
  /** Goes up with every wake-up; what was committed before is in a read that starts afterwards. */
  version(): number;
  read(request: PageRequest): Promise<LogPage>;
  /** Calls back once, when the version is past `version`: at once if it is already. */
  onceChanged(version: number, wake: () => void): void;
}

export interface LogFeeds {
  /** Call `release` when done with it. */
  open(orgId: string, runId: string): { feed: LogFeed; release: () => void };
}

/**
 * Feeds by run: many readers of one run cost one subscription, and one read for all who stand at the
 * same place. A wake-up is handed on in the next turn of the event loop, so that a burst of commits is
 * one read; without any, readers look again after `pollMs`.
 */
export function createLogFeeds(engine: ApiEngine, pollMs: number): LogFeeds {
  const open = new Map<string, { feed: LogFeed; users: number; stop: () => void }>();
  return {
    open: (orgId, runId) => {
      const key = `${orgId}\0${runId}`;
      const entry = open.get(key) ?? { ...startFeed(engine, runId, pollMs), users: 0 };
      open.set(key, entry);
      entry.users += 1;
      let released = false;
      const release = (): void => {
        if (released) return;
        released = true;
        entry.users -= 1;
        if (entry.users > 0) return;
        open.delete(key);
        entry.stop();
      };
      return { feed: entry.feed, release };
    },
  };
}

function startFeed(engine: ApiEngine, runId: string, pollMs: number): { feed: LogFeed; stop: () => void } {
  const pages = createPages(engine, runId);
  let version = 0;
  let wakePending: NodeJS.Immediate | undefined;
  let waiting: (() => void)[] = [];

  const advance = (): void => {
    version += 1;
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  const unsubscribe = engine.subscribe(runId, () => {
    wakePending ??= setImmediate(() => {
      wakePending = undefined;
      advance();
    });
  });
  const poll = setInterval(() => {
    pages.forget();
    advance();
  }, pollMs).unref();

  const onceChanged = (seen: number, wake: () => void): void => {
    if (version === seen) waiting.push(wake);
    else wake();
  };
  const stop = (): void => {
    unsubscribe();
    clearInterval(poll);
    if (wakePending !== undefined) clearImmediate(wakePending);
  };
  return { feed: { version: () => version, read: (request) => pages.read(request, version), onceChanged }, stop };
}
