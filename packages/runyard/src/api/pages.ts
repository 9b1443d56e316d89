import { isTerminal } from "@runyard/sdk/contract";
import type { ApiEngine, LogRead, Principal, StoredEvent } from "./engine.ts";

/** Most bytes of events that one page holds, but for a single longer event. */
export const PAGE_BYTES = 64 * 1024;
const MAX_PAGE_EVENTS = 1_000;
const FIRST_PAGE_EVENTS = 200;
/** Most pages that are kept for readers who come to the same place a little later. */
const KEPT_PAGES = 4;

/** How one event is written to a stream. */
export type Framing = (event: StoredEvent) => string;

/** A piece of a log in the form in which it is sent, shared by everybody who reads on from the same place. */
export interface LogPage {
  readonly bytes: Uint8Array;
  /** The seq of its last event; of an empty page the place that was asked for. */
  readonly last: number;
  readonly isEmpty: boolean;
  /** True when there is more to read at once. */
  readonly more: boolean;
  /** True when the run had ended at the time of the read: then its last event is here, or was before. */
  readonly ended: boolean;
}

export interface PageRequest {
  readonly principal: Principal;
  readonly after: number;
  readonly framing: Framing;
}

/** Reads pages of one run's log. */
export interface Pages {
  /** A page as of now, or one that was read at this `version` of the log or cannot change any more. */
  read(request: PageRequest, version: number): Promise<LogPage>;
  forget(): void;
}

interface KeptPage {
  readonly after: number;
  readonly framing: Framing;
  readonly version: number;
  readonly page: Promise<LogPage>;
  /** A log only grows: a page with more behind it stays as it is. */
  isFinal: boolean;
}

export function createPages(engine: ApiEngine, runId: string): Pages {
  let kept: KeptPage[] = [];
  let limit = FIRST_PAGE_EVENTS;

  const load = async ({ principal, after, framing }: PageRequest): Promise<LogPage> => {
    const asked = limit;
    const found = await engine.readEvents(principal, runId, { after, limit: asked });
    const events = withinBytes(found.events);
    if (events.length > 0) limit = eventsOfAPage(events);
    return frame(found, events, { after, framing, limit: asked });
  };
  return {
    forget: () => {
      kept = [];
    },
    read: (request, version) => {
      const { after, framing } = request;
      const known = kept.find(
        (entry) => entry.after === after && entry.framing === framing && (entry.isFinal || entry.version === version),
      );
      if (known !== undefined) return known.page;
      const entry: KeptPage = { after, framing, version, page: load(request), isFinal: false };
      kept = [entry, ...kept.filter((other) => other.after !== after || other.framing !== framing)].slice(0, KEPT_PAGES);
      entry.page.then(
        (page) => (entry.isFinal = page.more),
        () => (kept = kept.filter((other) => other !== entry)),
      );
      return entry.page;
    },
  };
}

/** Forgets what is past the size of a page: it is read again from there. */
function withinBytes(events: readonly StoredEvent[]): readonly StoredEvent[] {
  let bytes = 0;
  const end = events.findIndex((event, index) => (bytes += event.json.length) > PAGE_BYTES && index > 0);
  return end === -1 ? events : events.slice(0, end);
}

/** So many events as these as fill a page. */
function eventsOfAPage(events: readonly StoredEvent[]): number {
  const bytes = events.reduce((sum, event) => sum + event.json.length, 0);
  return Math.min(MAX_PAGE_EVENTS, Math.max(1, Math.floor((PAGE_BYTES * events.length) / bytes)));
}

function frame(found: LogRead, events: readonly StoredEvent[], asked: { after: number; framing: Framing; limit: number }): LogPage {
  let text = "";
  for (const event of events) text += asked.framing(event);
  return {
    bytes: Buffer.from(text),
    last: events.at(-1)?.seq ?? asked.after,
    isEmpty: events.length === 0,
    more: events.length < found.events.length || found.events.length >= asked.limit,
    ended: isTerminal(found.status),
  };
}
