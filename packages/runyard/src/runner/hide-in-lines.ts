import type { NewEvent } from "@runyard/sdk/contract";
import type { Redactor } from "../redact.ts";
import type { JournalLine } from "../sandbox/journal.ts";

/** What ends a message: pieces of it before and behind do not belong together. */
const ENDS_MESSAGE = new Set(["tool_call", "tool_call_update", "plan", "current_mode_update"]);
const CHUNKS = new Set(["agent_message_chunk", "agent_thought_chunk"]);

interface Piece {
  /** The line's place in the list. */
  readonly index: number;
  readonly text: string;
  readonly message: ChunkLine;
}

interface ChunkLine {
  readonly params: { readonly update: { readonly sessionUpdate: string; readonly content: { readonly text: string } } };
}

/**
 * Takes secrets out of an agent's lines: out of every text in them, and out of messages that come in pieces, where a
 * secret may stand in several of them. `redact` is for what is no JSON.
 */
export function hideInLines(
  lines: readonly JournalLine[],
  { redactor, redact }: { readonly redactor: Redactor; readonly redact: (text: string) => string },
): JournalLine[] {
  const changed = redactor.isIdle ? new Map<number, string>() : hiddenPieces(lines, redactor);
  return lines.map((line, index) => {
    if (!("text" in line)) return line;
    const text = changed.get(index) ?? line.text;
    return { ...line, text: redactor.isIdle ? redact(text) : hideInJson(text, redactor, redact) };
  });
}

/** The whole line is JSON, or else a text. A number that JavaScript cannot hold stays as it was where nothing is hidden. */
function hideInJson(line: string, redactor: Redactor, redact: (text: string) => string): string {
  const value = parsed(line);
  if (value === undefined) return redact(line);
  const hidden = redactor.json(value);
  return redact(hidden === value ? line : JSON.stringify(hidden));
}

/** Lines at the end that are not to be taken in yet: their message may go on in the middle of a secret. */
export function heldBack(lines: readonly JournalLine[], redactor: Redactor): JournalLine[] {
  if (redactor.isIdle) return [];
  const pieces = messagesIn(lines).at(-1);
  if (pieces === undefined || !isOpen(lines, pieces)) return [];
  const text = textOf(pieces);
  const found = redactor.findInText(text);
  const open = redactor.beginningAtEnd(text.slice(found.at(-1)?.end ?? 0));
  if (open === 0) return [];
  let cut = text.length - open;
  let first = lines.length;
  let from = text.length;
  for (const piece of pieces.toReversed()) {
    if (from <= cut) break;
    first = piece.index;
    from -= piece.text.length;
    // No line may be taken in without the rest of a secret that begins in it.
    cut = Math.min(cut, found.find(({ start, end }) => start < from && from < end)?.start ?? cut);
  }
  return lines.slice(first);
}

/** Whether nothing behind the last piece has ended its message. */
function isOpen(lines: readonly JournalLine[], pieces: readonly Piece[]): boolean {
  const last = pieces.at(-1)?.index ?? 0;
  return lines.slice(last + 1).every((line) => !endsMessage(line));
}

/** The texts of lines in which something had to be hidden, by their places. */
function hiddenPieces(lines: readonly JournalLine[], redactor: Redactor): Map<number, string> {
  const changed = new Map<number, string>();
  for (const pieces of messagesIn(lines)) {
    const found = redactor.findInText(textOf(pieces));
    if (found.length === 0) continue;
    let from = 0;
    for (const piece of pieces) {
      const to = from + piece.text.length;
      let text = "";
      let at = from;
      for (const { start, end, label } of found) {
        if (end <= from || start >= to) continue;
        if (start >= from) text += textOf(pieces).slice(at, start) + label;
        at = Math.min(end, to);
      }
      text += textOf(pieces).slice(at, to);
      if (text !== piece.text) changed.set(piece.index, JSON.stringify(withText(piece.message, text)));
      from = to;
    }
  }
  return changed;
}

function withText(message: ChunkLine, text: string): ChunkLine {
  const { params } = message;
  return { ...message, params: { ...params, update: { ...params.update, content: { ...params.update.content, text } } } };
}

/** Pieces that belong together, in order. */
function messagesIn(lines: readonly JournalLine[]): Piece[][] {
  const messages: Piece[][] = [];
  let open: { kind: string; pieces: Piece[] } | null = null;
  lines.forEach((line, index) => {
    const message = chunkOf(line);
    if (message === null) {
      if (endsMessage(line)) open = null;
      return;
    }
    const { sessionUpdate: kind, content } = message.params.update;
    if (open?.kind !== kind) {
      open = { kind, pieces: [] };
      messages.push(open.pieces);
    }
    open.pieces.push({ index, text: content.text, message });
  });
  return messages;
}

function textOf(pieces: readonly Piece[]): string {
  return pieces.map((piece) => piece.text).join("");
}

function chunkOf(line: JournalLine): ChunkLine | null {
  if (!("text" in line) || !line.text.includes("_chunk")) return null;
  const message = parsed(line.text) as Partial<ChunkLine> | null | undefined;
  const update = message?.params?.update;
  return CHUNKS.has(update?.sessionUpdate ?? "") && typeof update?.content?.text === "string" ? (message as ChunkLine) : null;
}

/** Requests, answers and what an agent does; what it only reports of itself, and stray lines, may stand in the middle of a message. */
function endsMessage(line: JournalLine): boolean {
  if (!("text" in line)) return false;
  const message = parsed(line.text) as
    | { method?: unknown; id?: unknown; params?: { update?: { sessionUpdate?: string } } }
    | null
    | undefined;
  if (typeof message !== "object" || message === null) return false;
  if (message.method !== "session/update") return message.id !== undefined;
  return ENDS_MESSAGE.has(message.params?.update?.sessionUpdate ?? "");
}

/** What a tool has put out so far may end in the middle of a secret; the next event of it has all of it. */
export function withoutHalves(event: NewEvent, redactor: Redactor): NewEvent {
  if (redactor.isIdle || (event.type !== "tool.updated" && event.type !== "tool.started") || event.data.output === null) return event;
  const { output } = event.data;
  const open = redactor.beginningAtEnd(output);
  if (open === 0) return event;
  return { ...event, data: { ...event.data, output: output.slice(0, output.length - open) } };
}

/** How many bytes more than the end of an output must be read, so that no secret is cut in two where it is kept from. */
export function tailMargin(redactor: Redactor): number {
  return 8 * redactor.longest;
}

/** The end of a text, of at most so many bytes. */
export function lastBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  return bytes.length <= maxBytes ? text : bytes.subarray(bytes.length - maxBytes).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
