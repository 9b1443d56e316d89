import { isTerminal } from "@runyard/sdk/contract";
import type { ApiEngine, LogForm, Principal } from "./engine.ts";

/** Most bytes of events that one page holds, but for a single longer event. */
export const PAGE_BYTES = 64 * 1024;
const MAX_PAGE_EVENTS = 1_000;
const FIRST_PAGE_EVENTS = 200;
/** Most pages that are kept for readers who come to the same place a little later. */
const KEPT_PAGES = 8;

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
  readonly form: LogForm;
}

/** Reads pages of one run's log. */
export interface Pages {
  /**
   * A page from `after` on. Readers who come to the same place get the same page, so that those who fell
   * behind each other go the same steps; an empty one is shared within one `version` of the log only.
   */
  read(request: PageRequest, version: number): Promise<LogPage>;
  forget(): void;
}

interface KeptPage {
  readonly after: number;
  readonly form: LogForm;
  readonly version: number;
  readonly page: Promise<LogPage>;
  /** What stays true of it when the log has grown: its events, and that there may be more. */
  later?: LogPage;
}

export function createPages(engine: ApiEngine, runId: string): Pages {
  let kept: KeptPage[] = [];
  let limit = FIRST_PAGE_EVENTS;

  const load = async ({ principal, after, form }: PageRequest): Promise<LogPage> => {
    const found = await engine.readEventPage(principal, runId, { after, limit, bytes: PAGE_BYTES, form });
    const bytes = Buffer.from(found.text);
    // So many events as these as fill a page.
    if (found.count > 0) limit = Math.min(MAX_PAGE_EVENTS, Math.max(1, Math.floor((PAGE_BYTES * found.count) / bytes.byteLength)));
    return { bytes, last: found.last ?? after, isEmpty: found.count === 0, more: found.more, ended: isTerminal(found.status) };
  };
  return {
    forget: () => {
      kept = [];
    },
    read: (request, version) => {
      const { after, form } = request;
      const known = kept.find((entry) => entry.after === after && entry.form === form);
      if (known?.version === version) return known.page;
      if (known?.later !== undefined) return Promise.resolve(known.later);
      const entry: KeptPage = { after, form, version, page: load(request) };
      kept = [entry, ...kept.filter((other) => other.after !== after || other.form !== form)].slice(0, KEPT_PAGES);
      entry.page.then(
        (page) => {
          if (!page.isEmpty) entry.later = { ...page, more: true };
        },
        () => (kept = kept.filter((other) => other !== entry)),
      );
      return entry.page;
    },
  };
}
