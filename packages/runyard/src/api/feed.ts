import { isTerminal } from "@runyard/sdk/contract";
import type { ApiEngine, LogRead, Principal, StoredEvent } from "./engine.ts";

/** Most bytes of events that one page holds, but for a single longer event. */
export const PAGE_BYTES = 256 * 1024;
const MAX_PAGE_EVENTS = 1_000;
const FIRST_PAGE_EVENTS = 200;
/** Most pages that a feed keeps for readers who come to the same place a little later. */
const KEPT_PAGES = 4;

/** A piece of a log, shared by everybody who reads on from the same place. */
export interface LogPage {
  readonly events: readonly StoredEvent[];
  /** True when more can be read at once. */
  readonly more: boolean;
  /** True when the run had ended at the time of the read: then its last event is here, or was before. */
  readonly ended: boolean;
  /** The bytes of this page in a framing, made once for all readers. */
  framed(framing: Framing): Uint8Array;
}

export type Framing = (event: StoredEvent) => string;

/** One run's log for all of its readers in this process. */
export interface LogFeed {
  /** Goes up with every wake-up; what was committed before is in a read that starts afterwards. */
  version(): number;
  read(principal: Principal, after: number): Promise<LogPage>;
  /** Resolves once the version is past `version`, or when `signal` is aborted. */
  changed(version: number, signal: AbortSignal): Promise<void>;
}

export interface LogFeeds {
  /** Call `release` once for each `open`. */
  open(orgId: string, runId: string): { feed: LogFeed; release: () => void };
  /** Feeds that are in use. */
  size(): number;
}

/**
 * Feeds by run: many readers of one run cost one subscription, and one read for all who stand at the
 * same place. A wake-up is handed on in the next turn of the event loop, so that a burst of commits is
 * one read; without any, readers look again after `pollMs`.
 */
export function createLogFeeds(engine: ApiEngine, pollMs: number): LogFeeds {
  const open = new Map<string, { feed: LogFeed; users: number; stop: () => void }>();
  return {
    size: () => open.size,
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
  let version = 0;
  let pageEvents = FIRST_PAGE_EVENTS;
  let wakePending: NodeJS.Immediate | undefined;
  let waiting = new Set<() => void>();
  // A read is shared only within one version: one that began before a wake-up may miss what it tells.
  let reads = new Map<number, Promise<LogPage>>();

  const advance = (): void => {
    version += 1;
    reads = new Map();
    const woken = waiting;
    waiting = new Set();
    for (const resolve of woken) resolve();
  };
  const unsubscribe = engine.subscribe(runId, () => {
    wakePending ??= setImmediate(() => {
      wakePending = undefined;
      advance();
    });
  });
  const poll = setInterval(advance, pollMs).unref();

  const readPage = async (principal: Principal, after: number): Promise<LogPage> => {
    const limit = pageEvents;
    const found = await engine.readEvents(principal, runId, { after, limit });
    const { page, bytes } = boundedPage(found, limit);
    if (page.events.length > 0) pageEvents = nextLimit(bytes / page.events.length);
    return page;
  };
  const feed: LogFeed = {
    version: () => version,
    read: (principal, after) => {
      const known = reads.get(after);
      if (known !== undefined) return known;
      const page = readPage(principal, after);
      keep(reads, after, page);
      return page;
    },
    changed: (seen, signal) =>
      new Promise((resolve) => {
        if (version !== seen || signal.aborted) return resolve();
        const done = (): void => {
          signal.removeEventListener("abort", done);
          waiting.delete(done);
          resolve();
        };
        waiting.add(done);
        signal.addEventListener("abort", done, { once: true });
      }),
  };
  const stop = (): void => {
    unsubscribe();
    clearInterval(poll);
    if (wakePending !== undefined) clearImmediate(wakePending);
  };
  return { feed, stop };
}

function keep(reads: Map<number, Promise<LogPage>>, after: number, page: Promise<LogPage>): void {
  reads.set(after, page);
  page.catch(() => reads.delete(after));
  const [oldest] = reads.keys();
  if (reads.size > KEPT_PAGES && oldest !== undefined) reads.delete(oldest);
}

/** So many events of this size as fill a page. */
function nextLimit(averageBytes: number): number {
  return Math.min(MAX_PAGE_EVENTS, Math.max(1, Math.floor(PAGE_BYTES / averageBytes)));
}

/** Forgets what is past the size of a page; it is read again from there. */
function boundedPage(found: LogRead, limit: number): { page: LogPage; bytes: number } {
  let bytes = 0;
  let count = 0;
  for (const event of found.events) {
    bytes += event.json.length;
    if (count > 0 && bytes > PAGE_BYTES) break;
    count += 1;
  }
  const events = count === found.events.length ? found.events : found.events.slice(0, count);
  const frames = new Map<Framing, Uint8Array>();
  const framed = (framing: Framing): Uint8Array => {
    const known = frames.get(framing);
    if (known !== undefined) return known;
    let text = "";
    for (const event of events) text += framing(event);
    const made = Buffer.from(text);
    frames.set(framing, made);
    return made;
  };
  const page = { events, more: count < found.events.length || found.events.length >= limit, ended: isTerminal(found.status), framed };
  return { page, bytes };
}
