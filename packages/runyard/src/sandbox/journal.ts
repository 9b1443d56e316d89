import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import path from "node:path";

/** A whole line of a journal, at the byte where it begins; or how long it was (with its newline), when it was too long. */
export type JournalLine = { readonly offset: number; readonly text: string } | { readonly offset: number; readonly tooLongBytes: number };

export const MAX_LINE_BYTES = 32 << 20;
const READ_BYTES = 1 << 20;
/** What a reader makes of lines is done in one go: a megabyte of empty ones must not hold up everything else. */
const READ_LINES = 1_000;
const RETRY_MS = 50;

/** Shared by all readers: a read is synchronous, and what outlives it is copied. */
const buffer = Buffer.allocUnsafe(READ_BYTES);

/** The journal is shorter than what was read of it: it is not the file that it was. */
export class JournalShrankError extends Error {
  override readonly name = "JournalShrankError";
}

/** Reads whole lines of a growing file from a byte cursor, in bounded memory. */
export class OutReader {
  readonly #fd: number;
  readonly #file: string;
  readonly #maxLineBytes: number;
  #position: number;
  #lineStart: number;
  #parts: Buffer[] = [];
  #skipping = false;
  /** How much is read at a time: where lines are short, not much more than is taken in. */
  #readBytes = READ_BYTES;

  constructor(file: string, cursor: number, maxLineBytes: number = MAX_LINE_BYTES) {
    this.#fd = openSync(file, "r");
    this.#file = file;
    this.#maxLineBytes = maxLineBytes;
    this.#position = cursor;
    this.#lineStart = cursor;
  }

  /** Bytes that were read after the last newline. */
  get restBytes(): number {
    return this.#position - this.#lineStart;
  }

  /** Reads at most 1 MiB, and no further than 1,000 lines. `next` is the byte after the last whole line; `bytes` is 0 at the end of the file. */
  read(): { lines: JournalLine[]; next: number; bytes: number } {
    const size = fstatSync(this.#fd).size;
    if (size < this.#position) {
      throw new JournalShrankError(`${this.#file} shrank: it has ${size} bytes, and ${this.#position} were read of it`);
    }
    const bytes = readSync(this.#fd, buffer, 0, this.#readBytes, this.#position);
    const lines: JournalLine[] = [];
    let from = 0;
    for (let end = this.#findNewline(from, bytes); end >= 0; end = this.#findNewline(from, bytes)) {
      lines.push(this.#finishLine(buffer.subarray(from, end), this.#position + end + 1));
      from = end + 1;
      if (lines.length < READ_LINES) continue;
      this.#position += from;
      this.#readBytes = from;
      return { lines, next: this.#lineStart, bytes: from };
    }
    this.#readBytes = Math.min(READ_BYTES, 2 * this.#readBytes);
    this.#keepPart(buffer.subarray(from, bytes), this.#position + bytes);
    this.#position += bytes;
    return { lines, next: this.#lineStart, bytes };
  }

  close(): void {
    closeSync(this.#fd);
  }

  #findNewline(from: number, bytes: number): number {
    return buffer.subarray(0, bytes).indexOf(10, from);
  }

  #finishLine(last: Buffer, end: number): JournalLine {
    const offset = this.#lineStart;
    const tooLong = this.#skipping || end - 1 - offset > this.#maxLineBytes;
    const text = tooLong ? "" : this.#parts.length === 0 ? last.toString() : Buffer.concat([...this.#parts, last]).toString();
    this.#parts = [];
    this.#skipping = false;
    this.#lineStart = end;
    return tooLong ? { offset, tooLongBytes: end - offset } : { offset, text };
  }

  #keepPart(part: Buffer, end: number): void {
    if (end - this.#lineStart > this.#maxLineBytes) {
      this.#skipping = true;
      this.#parts = [];
    } else if (part.length > 0) this.#parts.push(Buffer.from(part));
  }
}

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** Writes store-assigned byte ranges of `in`, and rings the bell. */
export class InWriter {
  readonly #in: number;
  readonly #bell: number;
  #closing: NodeJS.Timeout | null = null;

  private constructor(input: number, bell: number) {
    this.#in = input;
    this.#bell = bell;
  }

  /** Null when nobody reads: the shim has not begun, or the command's input is closed for ever. */
  static open(dir: string): InWriter | null {
    let bell: number;
    try {
      bell = openSync(path.join(dir, "bell"), constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (errorCode(error) === "ENXIO" || errorCode(error) === "ENOENT") return null;
      throw error;
    }
    try {
      // Never for append: Linux then ignores the position of a write.
      return new InWriter(openSync(path.join(dir, "in"), "r+"), bell);
    } catch (error) {
      closeSync(bell);
      throw error;
    }
  }

  /** Writes all of `bytes` at `offset`; the same bytes at the same place again change nothing. Throws ENOSPC on a full disk. */
  write(bytes: Uint8Array | string, offset: number): void {
    const content = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    for (let done = 0; done < content.length;) {
      done += writeSync(this.#in, content, done, content.length - done, offset + done);
    }
  }

  /** Tells the pump that `in` has grown. Never blocks: a full bell is a ring that is pending. */
  ring(): void {
    this.#tell("\n");
  }

  /** Closes the command's stdin once everything in `in` was delivered. */
  closeStdin(): void {
    if (this.#closing !== null) return;
    if (this.#tell("q\n")) return;
    this.#closing = setInterval(() => {
      if (this.#tell("q\n")) this.#stopClosing();
    }, RETRY_MS);
  }

  close(): void {
    this.#stopClosing();
    closeSync(this.#in);
    closeSync(this.#bell);
  }

  #stopClosing(): void {
    if (this.#closing !== null) clearInterval(this.#closing);
    this.#closing = null;
  }

  /** False when the bell is full. */
  #tell(ring: string): boolean {
    try {
      writeSync(this.#bell, ring);
      return true;
    } catch (error) {
      if (errorCode(error) === "EAGAIN") return false;
      if (errorCode(error) === "EPIPE") return true;
      throw error;
    }
  }
}
