import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Launch } from "./driver.ts";
import { InWriter, type JournalLine, JournalShrankError, OutReader } from "./journal.ts";
import { killRunDirectory } from "./kill.ts";
import { isShimAlive, readExitCode, readShimPid } from "./run-directory.ts";
import { type Lab, openLab, waitFor, waitForFile } from "./testing/lab.ts";
import { processesWith } from "./testing/processes.ts";

const launchOf = (script: string): Launch => ({ argv: ["sh", "-c", script], env: { PATH: process.env["PATH"] ?? "" }, args: [], join: [] });

describe("OutReader", () => {
  let dir: string;
  let file: string;
  const readers: OutReader[] = [];

  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), "runyard-journal-"));
    file = path.join(dir, "out");
    writeFileSync(file, "");
  });
  afterEach(() => {
    for (const reader of readers.splice(0)) reader.close();
    rmSync(dir, { recursive: true });
  });

  function open(cursor = 0, maxLineBytes?: number): OutReader {
    const reader = new OutReader(file, cursor, maxLineBytes);
    readers.push(reader);
    return reader;
  }

  function readAll(reader: OutReader): { lines: JournalLine[]; next: number; most: number } {
    const lines: JournalLine[] = [];
    let most = 0;
    for (;;) {
      const got = reader.read();
      most = Math.max(most, got.bytes);
      lines.push(...got.lines);
      if (got.bytes === 0) return { lines, next: got.next, most };
    }
  }

  it("reads no further than 1,000 lines at a time", () => {
    writeFileSync(file, `${"\n".repeat(2_500)}rest`);
    const reader = open();
    const reads = Array.from({ length: 4 }, () => reader.read());
    expect(reads.map(({ lines }) => lines.length)).toEqual([1_000, 1_000, 500, 0]);
    expect(reads.map(({ next }) => next)).toEqual([1_000, 2_000, 2_500, 2_500]);
    expect(reader.restBytes).toBe(4);
    appendFileSync(file, "ed\n");
    expect(reader.read().lines).toEqual([{ offset: 2_500, text: "rested" }]);
  });

  it("gives whole lines with the byte where each begins", () => {
    writeFileSync(file, "one\ngröße\n\nlast");
    const reader = open();
    expect(reader.read()).toEqual({
      lines: [
        { offset: 0, text: "one" },
        { offset: 4, text: "größe" },
        { offset: 12, text: "" },
      ],
      next: 13,
      bytes: 17,
    });
    expect(reader.restBytes).toBe(4);
    expect(reader.read()).toEqual({ lines: [], next: 13, bytes: 0 });
  });

  it("joins a line that came in parts, also where a character is cut", () => {
    const bytes = Buffer.from("größe\n");
    const reader = open();
    for (const byte of bytes) {
      expect(reader.restBytes).toBeLessThan(bytes.length);
      appendFileSync(file, Buffer.of(byte));
      const { lines } = reader.read();
      expect(lines).toEqual(byte === 10 ? [{ offset: 0, text: "größe" }] : []);
    }
    expect(reader.restBytes).toBe(0);
  });

  it("goes on from a cursor as a reader that was there all the time", () => {
    const text = Array.from({ length: 500 }, (_, i) => `${"x".repeat(i % 37)}${i}\n`).join("");
    writeFileSync(file, text);
    const { lines } = readAll(open());
    for (const [index, line] of lines.entries()) {
      if (index % 50 === 0) expect(readAll(open(line.offset)).lines).toEqual(lines.slice(index));
    }
    expect(lines).toHaveLength(500);
  });

  it("reads a line of 20 MB, at most 1 MiB at a time", () => {
    const long = "y".repeat(20_000_000);
    writeFileSync(file, `before\n${long}\nafter\n`);
    const { lines, next, most } = readAll(open());
    expect(lines.map((line) => ("text" in line ? line.text.length : -1))).toEqual([6, 20_000_000, 5]);
    expect(lines[1]).toEqual({ offset: 7, text: long });
    expect(next).toBe(20_000_014);
    expect(most).toBe(1 << 20);
  });

  it("skips a line above the limit with its length, and reads on behind it", () => {
    writeFileSync(file, `1234567890\n12345678901\n${"z".repeat(3_000_000)}\nend\n`);
    expect(readAll(open(0, 10)).lines).toEqual([
      { offset: 0, text: "1234567890" },
      { offset: 11, tooLongBytes: 12 },
      { offset: 23, tooLongBytes: 3_000_001 },
      { offset: 3_000_024, text: "end" },
    ]);
  });

  it("keeps no bytes of a line above the limit", () => {
    const reader = open(0, 1_000_000);
    const fd = openSync(file, "a");
    const part = Buffer.alloc(1 << 20, "w");
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 64; i += 1) {
      writeSync(fd, part);
      reader.read();
    }
    closeSync(fd);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
    expect(reader.restBytes).toBe(64 << 20);
  });

  it("notices that the journal has shrunk", () => {
    writeFileSync(file, "one\ntwo\n");
    const reader = open();
    reader.read();
    truncateSync(file, 4);
    expect(() => reader.read()).toThrow(JournalShrankError);
    expect(() => open(8).read()).toThrow("it has 4 bytes, and 8 were read of it");
  });
});

/** Fills a bell while its pump stands still; `empty` takes the rings out again and lets the pump go on. */
function fullBell(dir: string): { empty(): void } {
  const bell = openSync(path.join(dir, "bell"), constants.O_RDWR | constants.O_NONBLOCK);
  const pump = processesWith(dir).find((pid) => pid !== readShimPid(dir)!.pid)!;
  process.kill(pump, "SIGSTOP");
  const ring = Buffer.alloc(65_536, "\n");
  while (writeOrFull(bell, ring)) continue;
  return {
    empty: () => {
      readSync(bell, Buffer.alloc(1 << 20));
      process.kill(pump, "SIGCONT");
      closeSync(bell);
    },
  };
}

function writeOrFull(fd: number, bytes: Buffer): boolean {
  try {
    return writeSync(fd, bytes) > 0;
  } catch {
    return false;
  }
}

describe("the journals of a running command", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("journals");
  });
  afterAll(() => lab.close());

  it("cannot be written before the shim has come, nor after the command has gone", async () => {
    expect(InWriter.open(lab.newDir())).toBeNull();
    const dir = await lab.start(launchOf("exit 0"));
    await waitFor(() => !isShimAlive(dir));
    expect(InWriter.open(dir)).toBeNull();
  });

  it("can be written as soon as the start has returned", async () => {
    for (let round = 0; round < 10; round += 1) {
      const dir = await lab.start(launchOf("read -r line; echo $line"));
      const writer = InWriter.open(dir);
      expect(writer).not.toBeNull();
      writer!.write("hello\n", 0);
      writer!.ring();
      expect(await waitForFile(path.join(dir, "out"))).toBe("hello\n");
      writer!.close();
    }
  });

  it("deliver bytes once, however often they are written and the bell is rung", async () => {
    const dir = await lab.start(launchOf("cat"));
    const writer = InWriter.open(dir)!;
    const lines = Array.from({ length: 200 }, (_, i) => `line ${i}\n`);
    for (let round = 0; round < 3; round += 1) {
      let offset = 0;
      for (const line of lines) {
        writer.write(line, offset);
        writer.ring();
        offset += line.length;
      }
    }
    writer.closeStdin();
    await waitFor(() => readExitCode(dir) !== null);
    writer.close();
    expect(readFileSync(path.join(dir, "out"), "utf8")).toBe(lines.join(""));
  });

  it("complete a message that an earlier writer left in the middle", async () => {
    const dir = await lab.start(launchOf("cat"));
    const first = InWriter.open(dir)!;
    first.write('{"half', 0);
    first.ring();
    first.close();
    await waitForFile(path.join(dir, "out"));
    const second = InWriter.open(dir)!;
    second.write('{"half":"whole"}\n', 0);
    second.closeStdin();
    await waitFor(() => readExitCode(dir) !== null);
    second.close();
    expect(readFileSync(path.join(dir, "out"), "utf8")).toBe('{"half":"whole"}\n');
  });

  it("never block the writer, though the command does not read", async () => {
    const dir = await lab.start(launchOf("sleep 100"));
    const writer = InWriter.open(dir)!;
    writer.write(Buffer.alloc(1_000_000, "m"), 0);
    for (let i = 0; i < 70_000; i += 1) writer.ring(); // more than the bell holds
    writer.closeStdin(); // goes on trying
    await killRunDirectory(dir);
    expect(InWriter.open(dir)).toBeNull();
    writer.close();
  });

  it("close stdin later where the bell is full", async () => {
    const dir = await lab.start(launchOf("cat"));
    const writer = InWriter.open(dir)!;
    writer.write("delivered\n", 0);
    const pump = fullBell(dir);
    writer.closeStdin();
    pump.empty();
    await waitFor(() => readExitCode(dir) !== null);
    writer.close();
    expect(readFileSync(path.join(dir, "out"), "utf8")).toBe("delivered\n");
  });

  it("hold all that a killed command said, and the rest that it did not finish", async () => {
    const dir = await lab.start(launchOf("echo whole; printf 'not whole'; kill -KILL $$"));
    await waitFor(() => readExitCode(dir) !== null);
    const reader = new OutReader(path.join(dir, "out"), 0);
    expect(reader.read().lines).toEqual([{ offset: 0, text: "whole" }]);
    expect(reader.restBytes).toBe("not whole".length);
    expect(readExitCode(dir)).toBe(137);
    reader.close();
  });

  it("stay readable when the shim was lost", async () => {
    const dir = await lab.start(launchOf("echo said; sleep 100"));
    await waitForFile(path.join(dir, "out"));
    process.kill(readShimPid(dir)!.pid, "SIGKILL");
    await waitFor(() => !isShimAlive(dir));
    expect(readExitCode(dir)).toBeNull();
    expect(existsSync(path.join(dir, "exit"))).toBe(true);
    const reader = new OutReader(path.join(dir, "out"), 0);
    expect(reader.read().lines).toEqual([{ offset: 0, text: "said" }]);
    reader.close();
  });
});
