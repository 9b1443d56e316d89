import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import {
  type BudgetLine,
  type DivergenceLine,
  type EgressLine,
  type ExchangeClose,
  parseExchangeLine,
  type SecretUseLine,
} from "../gateway/exchange-journal.ts";
import type { Redactor } from "../redact.ts";
import { type JournalLine, OutReader } from "../sandbox/journal.ts";
import type { RunRow } from "../store/run-row.ts";
import { heldBack } from "./hide-in-lines.ts";

/** Longest time that pieces of a message wait for more of them, in milliseconds. */
const HOLD_MS = 60;

/** New lines of the agent and model calls that have ended, with the cursors that they lead to. */
export interface Batch {
  readonly lines: readonly JournalLine[];
  readonly outTo: number;
  readonly calls: readonly ExchangeClose[];
  /** How a replay differs. */
  readonly divergences: readonly DivergenceLine[];
  /** What programs of the run were not let to reach. */
  readonly denied: readonly EgressLine[];
  /** Requests that secrets were put into. */
  readonly uses: readonly SecretUseLine[];
  /** How the run's budget stood in the way of a call; null: it did not. */
  readonly budget: BudgetLine | null;
  readonly usageTo: number;
}

/**
 * Reads an agent's journal and the gateway's journal of the same run from the run's cursors on. What
 * was read and not yet committed stays in the batch: the cursors move with the commit, never before it.
 */
export interface AgentOutput {
  /** Reads on. `more`: there is more to read at once. */
  read(): { readonly more: boolean };
  /** What is due now: everything, unless it is only pieces of a message that are younger than the hold. */
  due(nowMs: number, options: { readonly flush: boolean }): Batch | null;
  /** Milliseconds until held pieces are due, or null when nothing is held. */
  heldMs(nowMs: number): number | null;
  /** Model calls that were begun and have not ended, as far as read. */
  readonly openCalls: number;
  /** Bytes of a last line that was never ended. */
  readonly restBytes: number;
  close(): void;
}

export function openAgentOutput(options: {
  readonly dir: string;
  readonly exchangesFile: string;
  readonly row: RunRow;
  /** Pieces of a message that may end in the middle of a secret wait for the next ones. */
  readonly redactor: Redactor;
}): AgentOutput {
  const out = new OutReader(path.join(options.dir, "out"), options.row.out_cursor);
  const exchanges = openExchanges(options.exchangesFile, options.row.usage_cursor);
  let lines: JournalLine[] = [];
  let outTo = options.row.out_cursor;
  let calls: ExchangeClose[] = [];
  let divergences: DivergenceLine[] = [];
  let denied: EgressLine[] = [];
  let uses: SecretUseLine[] = [];
  let budget: BudgetLine | null = null;
  let usageTo = options.row.usage_cursor;
  let heldSinceMs: number | null = null;
  let isUndecided = false;

  return {
    read() {
      const got = out.read();
      const said = got.lines.filter(saysSomething);
      lines.push(...said);
      if (said.length > 0) isUndecided = false;
      outTo = got.next;
      const closed = exchanges.read();
      calls.push(...closed.calls);
      divergences.push(...closed.divergences);
      denied.push(...closed.denied);
      uses.push(...closed.uses);
      budget ??= closed.budget;
      usageTo = closed.next;
      return { more: got.bytes > 0 || closed.bytes > 0 };
    },
    due(nowMs, { flush }) {
      const hasNews = calls.length > 0 || divergences.length > 0 || denied.length > 0 || uses.length > 0 || budget !== null;
      if (lines.length === 0 && !hasNews) return null;
      heldSinceMs ??= nowMs;
      if (!flush && nowMs - heldSinceMs < HOLD_MS && calls.length === 0 && budget === null && lines.every(isPiece)) return null;
      const later = flush ? [] : heldBack(lines, options.redactor);
      isUndecided = later.length === lines.length && lines.length > 0;
      if (isUndecided && !hasNews) return null;
      const batch = {
        lines: lines.slice(0, lines.length - later.length),
        outTo: later[0]?.offset ?? outTo,
        calls,
        divergences,
        denied,
        uses,
        budget,
        usageTo,
      };
      lines = later;
      calls = [];
      divergences = [];
      denied = [];
      uses = [];
      budget = null;
      heldSinceMs = null;
      return batch;
    },
    // What is undecided waits for more, and for nothing else.
    heldMs: (nowMs) => (heldSinceMs === null || isUndecided ? null : Math.max(0, heldSinceMs + HOLD_MS - nowMs)),
    get openCalls() {
      return exchanges.open();
    },
    get restBytes() {
      return out.restBytes;
    },
    close() {
      out.close();
      exchanges.close();
    },
  };
}

/** An agent can write millions of blank lines. */
function saysSomething(line: JournalLine): boolean {
  return !("text" in line) || line.text !== "";
}

/** Pieces of a message or a thought are what may wait: people read them, nothing else depends on them. */
function isPiece(line: JournalLine): boolean {
  return "text" in line && (line.text.includes('"agent_message_chunk"') || line.text.includes('"agent_thought_chunk"'));
}

export interface Exchanges {
  /** `bytes` is 0 at the end of the journal. */
  read(): {
    calls: ExchangeClose[];
    divergences: DivergenceLine[];
    denied: EgressLine[];
    uses: SecretUseLine[];
    budget: BudgetLine | null;
    next: number;
    bytes: number;
  };
  open(): number;
  close(): void;
}

/** Reads the gateway's journal of a run from a cursor on. The gateway makes it with the run's first model call, so it may not be there yet. */
export function openExchanges(file: string, cursor: number): Exchanges {
  let reader: OutReader | null = null;
  const open = openBefore(file, cursor);
  return {
    read() {
      if (reader === null && existsSync(file)) reader = new OutReader(file, cursor);
      if (reader === null) return { calls: [], divergences: [], denied: [], uses: [], budget: null, next: cursor, bytes: 0 };
      const calls: ExchangeClose[] = [];
      const divergences: DivergenceLine[] = [];
      const denied: EgressLine[] = [];
      const uses: SecretUseLine[] = [];
      let budget: BudgetLine | null = null;
      const { lines, next, bytes } = reader.read();
      for (const line of lines) {
        const entry = "text" in line ? parseExchangeLine(line.text) : null;
        if (entry?.type === "open") open.add(entry.id);
        if (entry?.type === "divergence") divergences.push(entry);
        if (entry?.type === "egress") denied.push(entry);
        if (entry?.type === "secret-use") uses.push(entry);
        if (entry?.type === "budget") budget ??= entry;
        if (entry?.type !== "close") continue;
        open.delete(entry.id);
        calls.push(entry);
      }
      return { calls, divergences, denied, uses, budget, next, bytes };
    },
    open: () => open.size,
    close: () => reader?.close(),
  };
}

/** Calls whose beginning lies before the cursor and whose end does not: an adopting server must wait for them too. */
function openBefore(file: string, cursor: number): Set<string> {
  const open = new Set<string>();
  if (cursor === 0 || !existsSync(file)) return open;
  for (const text of readFileSync(file).subarray(0, cursor).toString().split("\n")) {
    const entry = text === "" ? null : parseExchangeLine(text);
    if (entry?.type === "open") open.add(entry.id);
    if (entry?.type === "close") open.delete(entry.id);
  }
  return open;
}
