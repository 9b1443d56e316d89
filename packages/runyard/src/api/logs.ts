import { listLogsSchema, type LogEntry, type LogPage, parseEvent, toLogEntry } from "@runyard/sdk/contract";
import { accepts } from "hono/accepts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine, Principal } from "./engine.ts";
import { seqSchema } from "./events.ts";
import { runIdOf } from "./runs.ts";
import { queryOf, validate } from "./validate.ts";

/** A number is digits here, as for events: neither nothing nor `0x10` is one. */
const logsQuerySchema = listLogsSchema.extend({ after: seqSchema.default(0) });
/** Events that are read at a time, and most that are looked at for one page. */
const BATCH = 500;
const MAX_EVENTS = 5_000;
/** Most characters of messages in one page, but for a single longer one. */
const MAX_PAGE_CHARS = 4 * 1024 * 1024;

const TYPES = { json: "application/json", text: "text/plain" } as const;

/** `GET /v1/agent-runs/{id}/logs`: a page as JSON, or as lines to read, by Accept. */
export function logsHandler(engine: ApiEngine): ApiHandler {
  return async (c) => {
    const id = runIdOf(c);
    const query = validate(logsQuerySchema, queryOf(c.req.url));
    c.header("Vary", "Accept");
    const type = accepts(c, { header: "Accept", supports: Object.values(TYPES), default: TYPES.json });
    const page = await readLogs(engine, c.var.principal, { id, ...query });
    if (type === TYPES.json) return c.json(page);
    if (page.has_more) c.header("Link", `<?after=${page.next_after}&limit=${query.limit}>; rel="next"`);
    return c.text(page.data.map(lineOf).join(""));
  };
}

async function readLogs(
  engine: ApiEngine,
  principal: Principal,
  asked: { readonly id: string; readonly after: number; readonly limit: number },
): Promise<LogPage> {
  const data: LogEntry[] = [];
  let [at, chars] = [asked.after, 0];
  const page = (hasMore: boolean): LogPage => ({ data, has_more: hasMore, next_after: at });
  while (at < asked.after + MAX_EVENTS) {
    const { events } = await engine.readEvents(principal, asked.id, { after: at, limit: BATCH });
    for (const { seq, json } of events) {
      const entry = entryOf(json);
      chars += entry?.message.length ?? 0;
      const isFull = data.length === asked.limit || (data.length > 0 && chars > MAX_PAGE_CHARS);
      if (entry !== null && isFull) return page(true);
      if (entry !== null) data.push(entry);
      at = seq;
    }
    if (events.length < BATCH) return page(false);
  }
  return page(true);
}

function entryOf(json: string): LogEntry | null {
  const event = parseEvent(JSON.parse(json));
  return event === undefined ? null : toLogEntry(event);
}

/** One entry as text; lines of a longer message are indented below its first. Terminals get nothing to obey. */
function lineOf({ at, level, source, message }: LogEntry): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it must find
  const plain = message.replaceAll("\r\n", "\n").replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
  return `${at} ${level.padEnd(7)} ${source.padEnd(7)} ${plain.trimEnd().replaceAll("\n", "\n    ")}\n`;
}
