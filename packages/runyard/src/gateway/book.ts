import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { type Account, type Amount, type Budget, minus, NOTHING, plus } from "../core/spending.ts";
import { type ExchangeLine, parseExchangeLine } from "./exchange-journal.ts";

const NEWLINE = 0x0a;
const CHUNK_BYTES = 256 * 1024;

/** What a run's journal says of its money. The journal is the truth: other processes write to it too. */
export interface Book {
  /** Everything that is in the journal by now; with `before`, up to the beginning of that call. */
  read(before?: string): Account;
  /** The budget that stood in the way last; null: none did. */
  readonly exceeded: Budget | null;
  /** What was carried here from other hosts. */
  readonly carried: Amount;
  /** What calls that ended within the first bytes of the journal count. */
  countedIn(bytes: number): Amount;
}

export function openBook(file: string): Book {
  let offset = 0;
  let closed: Amount = NOTHING;
  let carried: Amount = NOTHING;
  let exceeded: Budget | null = null;
  const open = new Map<string, Amount>();
  const account = (): Account => ({ spent: plus(closed, carried), reserved: [...open.values()].reduce(plus, NOTHING) });

  const enter = (line: ExchangeLine): void => {
    if (line.type === "open") open.set(line.id, { nanoUsd: line.reservedNanoUsd ?? 0, tokens: line.reservedTokens ?? 0 });
    else if (line.type === "close") {
      open.delete(line.id);
      closed = plus(closed, { nanoUsd: line.countedNanoUsd, tokens: line.countedTokens });
    } else if (line.type === "carried") carried = plus(carried, line);
    else if (line.type === "budget") exceeded = line;
  };

  return {
    read(before) {
      let then: Account | null = null;
      const { lines, next } = linesFrom(file, offset);
      offset = next;
      for (const line of lines) {
        if (line.type === "open" && line.id === before) then = account();
        enter(line);
      }
      return then ?? account();
    },
    get exceeded() {
      return exceeded;
    },
    get carried() {
      return carried;
    },
    countedIn(bytes) {
      const amounts = linesFrom(file, 0, bytes).lines.map((line) =>
        line.type === "close" ? { nanoUsd: line.countedNanoUsd, tokens: line.countedTokens } : NOTHING,
      );
      return amounts.reduce(plus, NOTHING);
    },
  };
}

/** What of `told` is in no line that was read here, and was not carried here before: it was spent on other hosts. */
export function missingIn(book: Book, told: { readonly spent: Amount; readonly readTo: number }): Amount {
  const { nanoUsd, tokens } = minus(minus(told.spent, book.countedIn(told.readTo)), book.carried);
  return { nanoUsd: Math.max(0, nanoUsd), tokens: Math.max(0, tokens) };
}

/** The whole lines of a journal from a byte on; a last one that is not ended yet is left for later. */
function linesFrom(file: string, from: number, to = Infinity): { readonly lines: ExchangeLine[]; readonly next: number } {
  const bytes = bytesFrom(file, from).subarray(0, to - from);
  const end = bytes.lastIndexOf(NEWLINE) + 1;
  const lines = bytes
    .subarray(0, end)
    .toString()
    .split("\n")
    .map(parseExchangeLine)
    .filter((line) => line !== null);
  return { lines, next: from + end };
}

function bytesFrom(file: string, from: number): Buffer {
  if (from === 0) return readOrNothing(file);
  const descriptor = openSync(file, "r");
  try {
    const chunks: Buffer[] = [];
    for (let at = from; ;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const got = readSync(descriptor, chunk, 0, CHUNK_BYTES, at);
      chunks.push(chunk.subarray(0, got));
      at += got;
      if (got < CHUNK_BYTES) return Buffer.concat(chunks);
    }
  } finally {
    closeSync(descriptor);
  }
}

function readOrNothing(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}
