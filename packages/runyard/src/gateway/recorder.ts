import { createWriteStream, mkdirSync, type WriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { ExchangeClose, ExchangeLine } from "./exchange-journal.ts";
import { exchangesFile, runDir } from "./files.ts";
import { appendLines } from "./journal-file.ts";
import { forgetRuns, markRun } from "./lives.ts";
import type { Redactor } from "./redact.ts";
import type { TokenCounts } from "./wire-format.ts";

export interface RecorderOptions {
  readonly gatewayDir: string;
  /** Number and tag of the life that records. */
  readonly number: number;
  readonly tag: string;
  readonly log: (message: string) => void;
}

/** Writes down model calls: the journal that usage is counted from, and the bodies. */
export interface Recorder {
  /** Journals a call's beginning and keeps its request. Throws when that cannot be written: then nothing may be called. */
  open(call: CallStart): CallRecord;
  /** Ends of calls that could not be written, for want of disk space, are tried again. */
  retry(): void;
  /** Bodies that are still being written. */
  readonly openBodies: number;
  /** For leaving, when nothing is under way: false when the ends of some calls cannot be written. */
  finish(): boolean;
}

export interface CallStart {
  readonly runId: string;
  readonly provider: string;
  readonly model: string;
  readonly path: string;
  readonly request: Buffer;
  /** Takes out the provider's key and the run's token. */
  readonly redactor: Redactor;
}

export interface CallRecord {
  readonly id: string;
  /** Records bytes of the answer as the agent gets them; resolves when more may come. Never rejects. */
  write(bytes: Buffer): Promise<void>;
  /** Journals the end at once; the bodies follow on their own. */
  close(end: CallEnd): void;
}

export type CallEnd = Pick<ExchangeClose, "status" | "ok" | "complete" | "error"> & {
  readonly tokens: TokenCounts;
  /** How often the provider was asked; left out: nobody counted. */
  readonly tries?: number;
};

export function createRecorder(options: RecorderOptions): Recorder {
  const { gatewayDir, number, tag, log } = options;
  const marked = new Set<string>();
  let unwritten: { file: string; line: ExchangeLine }[] = [];
  let count = 0;
  let openBodies = 0;

  const prepare = (runId: string): void => {
    if (marked.has(runId)) return;
    mkdirSync(runDir(gatewayDir, runId), { recursive: true });
    markRun(gatewayDir, number, runId);
    marked.add(runId);
  };
  const journal = (file: string, line: ExchangeLine): void => {
    try {
      appendLines(file, [line]);
    } catch (error) {
      log(`the end of a model call could not be written and will be tried again: ${String(error)}`);
      unwritten.push({ file, line });
    }
  };
  const retry = (): void => {
    const again = unwritten;
    unwritten = [];
    for (const { file, line } of again) journal(file, line);
  };

  return {
    open({ runId, provider, model, path: doorPath, request, redactor }) {
      prepare(runId);
      count += 1;
      const id = `${count}-${tag}`;
      const file = exchangesFile(gatewayDir, runId);
      const startedAt = performance.now();
      appendLines(file, [{ type: "open", id, at: new Date().toISOString(), provider, model, path: doorPath }]);
      openBodies += 1;
      const bodies = recordBodies(path.join(runDir(gatewayDir, runId), id), { request, redactor, log });
      return {
        id,
        write: (bytes) => bodies.write(bytes),
        close({ tokens, tries = null, ...end }) {
          const durationMs = Math.round(performance.now() - startedAt);
          const error = end.error === null ? null : redactor.text(end.error).slice(0, 2_000);
          journal(file, {
            type: "close",
            id,
            at: new Date().toISOString(),
            ...end,
            tries,
            ...tokens,
            durationMs,
            error,
            settled: "measured",
          });
          void bodies.finish().then(() => (openBodies -= 1));
        },
      };
    },
    retry,
    get openBodies() {
      return openBodies;
    },
    finish() {
      retry();
      if (unwritten.length === 0) forgetRuns(gatewayDir, number);
      return unwritten.length === 0;
    },
  };
}

interface Bodies {
  write(bytes: Buffer): Promise<void>;
  finish(): Promise<void>;
}

/** A body that cannot be written costs the recording, never the call. */
function recordBodies(prefix: string, options: { request: Buffer; redactor: Redactor; log: (message: string) => void }): Bodies {
  const { request, redactor, log } = options;
  const complain = (error: unknown): void => log(`a model call could not be recorded: ${String(error)}`);
  const requestWritten = writeFile(`${prefix}.request.json`, redactor.bytes(request), { mode: 0o600 }).catch(complain);
  const response: WriteStream = createWriteStream(`${prefix}.response`, { mode: 0o600 });
  let failed = false;
  const closed = new Promise<void>((resolve) => response.once("close", resolve));
  response.on("error", (error) => {
    failed = true;
    complain(error);
  });
  return {
    async write(bytes) {
      if (failed || response.write(redactor.bytes(bytes))) return;
      await Promise.race([new Promise<void>((resolve) => response.once("drain", () => resolve())), closed]);
    },
    async finish() {
      response.end();
      await Promise.all([requestWritten, closed]);
    },
  };
}
