import { createWriteStream, mkdirSync, type WriteStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import type { ExchangeSide } from "@runyard/sdk/contract";
import { type Amount, counted } from "../core/spending.ts";
import type { DivergenceLine, EgressLine, ExchangeClose, ExchangeLine, ExchangeOpen, SecretUseLine } from "./exchange-journal.ts";
import { bodyFile, exchangesFile, runDir } from "./files.ts";
import { hideInStream } from "./hide-in-stream.ts";
import { appendLines } from "./journal-file.ts";
import { forgetRuns, markRun } from "./lives.ts";
import type { Rates } from "./prices.ts";
import type { Redactor } from "../redact.ts";
import type { RegisteredRun } from "./protocol.ts";
import { NO_TOKENS, type TokenCounts } from "./wire-format.ts";

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
  /** Journals how a replay differs. Throws when that cannot be written. */
  diverged(runId: string, divergence: Omit<DivergenceLine, "type" | "at">): void;
  /** Journals what a run was not let to reach. */
  denied(runId: string, denied: Pick<EgressLine, "target" | "reason">): void;
  /** Journals requests that a secret was put into. */
  secretUsed(runId: string, use: Omit<SecretUseLine, "type" | "at">): void;
  /** Ends of calls that could not be written, for want of disk space, are tried again. */
  retry(): void;
  /** Bodies that are still being written. */
  readonly openBodies: number;
  /** For leaving, when nothing is under way: false when the ends of some calls cannot be written. */
  finish(): boolean;
}

export interface CallStart extends Pick<ExchangeOpen, "provider" | "model" | "path" | "replays"> {
  readonly run: Pick<RegisteredRun, "runId" | "turn" | "attempt">;
  readonly request: Buffer;
  /** Takes out the provider's key, the run's token and the agent's login. */
  readonly redactor: Redactor;
  /** What the model costs; null: nobody knows. */
  readonly rates: Rates | null;
  /** What is set aside for the call; null: its run has no budget. */
  readonly reserve: Amount | null;
}

export interface CallRecord {
  readonly id: string;
  /** Records bytes of the answer as the agent gets them; resolves when more may come. Never rejects. */
  write(bytes: Buffer): Promise<void>;
  /** Journals the end at once; the bodies follow on their own. */
  close(end: CallEnd): void;
}

export type CallEnd = Pick<ExchangeClose, "status" | "ok" | "complete" | "error" | "headers"> & {
  readonly tokens: TokenCounts;
  /** How often the provider was asked; left out: nobody counted. */
  readonly tries?: number;
  /** The provider never saw the request. */
  readonly isUnsent?: true;
  /** What it took by what was seen of it, where that is more than was set aside. */
  readonly seen?: Amount;
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
    open({ run, request, redactor, rates, reserve, ...call }) {
      const { runId, turn, attempt } = run;
      prepare(runId);
      count += 1;
      const id = `${count}-${tag}`;
      const file = exchangesFile(gatewayDir, runId);
      const startedAt = performance.now();
      const reserved = { reservedNanoUsd: reserve?.nanoUsd ?? null, reservedTokens: reserve?.tokens ?? null };
      appendLines(file, [{ type: "open", id, at: new Date().toISOString(), turn, attempt, ...call, ...reserved }]);
      openBodies += 1;
      const bodies = recordBodies((side) => bodyFile(gatewayDir, { runId, id, side }), { request, redactor, log });
      return {
        id,
        write: (bytes) => bodies.write(bytes),
        close({ tokens, isUnsent = false, seen, tries = null, ...end }) {
          const durationMs = Math.round(performance.now() - startedAt);
          const error = end.error === null ? null : redactor.text(end.error).slice(0, 2_000);
          const money = moneyOf({ ...end, tokens, isUnsent }, { rates, reserve: seen ?? reserve });
          const measured = { tries, ...tokens, ...money, durationMs, error, ...bodies.sizes(), settled: "measured" } as const;
          const { provider, model } = call;
          journal(file, { type: "close", id, at: new Date().toISOString(), provider, model, ...end, ...measured });
          void bodies.finish().then(() => (openBodies -= 1));
        },
      };
    },
    diverged(runId, divergence) {
      appendLines(exchangesFile(gatewayDir, runId), [{ type: "divergence", at: new Date().toISOString(), ...divergence }]);
    },
    denied(runId, denied) {
      prepare(runId);
      journal(exchangesFile(gatewayDir, runId), { type: "egress", at: new Date().toISOString(), ...denied });
    },
    secretUsed(runId, use) {
      prepare(runId);
      journal(exchangesFile(gatewayDir, runId), { type: "secret-use", at: new Date().toISOString(), ...use });
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

/** What a call cost, and what it counts against a budget. An answer that broke off has no known cost. */
function moneyOf(
  { status, complete, tokens, isUnsent }: Pick<CallEnd, "status" | "complete" | "tokens"> & { readonly isUnsent: boolean },
  { rates, reserve }: Pick<CallStart, "rates" | "reserve">,
): Pick<ExchangeClose, "costNanoUsd" | "countedNanoUsd" | "countedTokens"> {
  // Providers charge nothing for what they refuse.
  const isUnbilled = isUnsent || (status !== null && status >= 400);
  const costNanoUsd = isUnbilled ? 0 : (rates?.cost(complete ? tokens : NO_TOKENS) ?? null);
  const { nanoUsd, tokens: countedTokens } = counted({ ...tokens, costNanoUsd, complete, isUnbilled, reserve });
  return { costNanoUsd, countedNanoUsd: nanoUsd, countedTokens };
}

/**
 * An answer comes in pieces of a word each, and a write to a file takes longer than passing one on: they are gathered up to this
 * length, or for this time. An answer that comes faster than the disk takes it waits for it.
 */
const GATHERED_BYTES = 16 * 1024;
const GATHERED_MS = 500;

interface Bodies {
  write(bytes: Buffer): Promise<void>;
  /** Of what there is to write so far. */
  sizes(): Pick<ExchangeClose, "requestBytes" | "responseBytes">;
  finish(): Promise<void>;
}

/** Models say a secret in pieces, which nobody can know before the whole answer is there. */
async function hidePieces(file: string, redactor: Redactor): Promise<void> {
  const bytes = await readFile(file);
  const hidden = hideInStream(bytes, redactor);
  if (hidden !== bytes) await writeFile(file, hidden, { mode: 0o600 });
}

/** A body that cannot be written costs the recording, never the call. */
function recordBodies(
  fileOf: (side: ExchangeSide) => string,
  options: { request: Buffer; redactor: Redactor; log: (message: string) => void },
): Bodies {
  const { redactor, log } = options;
  const complain = (error: unknown): void => log(`a model call could not be recorded: ${String(error)}`);
  const request = redactor.bytes(options.request);
  const requestWritten = writeFile(fileOf("request"), request, { mode: 0o600 }).catch(complain);
  const response: WriteStream = createWriteStream(fileOf("response"), { mode: 0o600, highWaterMark: GATHERED_BYTES });
  let responseBytes = 0;
  let failed = false;
  let gathering: NodeJS.Timeout | null = null;
  const writeGathered = (): void => {
    if (gathering !== null) clearTimeout(gathering);
    gathering = null;
    response.uncork();
  };
  const closed = new Promise<void>((resolve) => response.once("close", resolve));
  response.on("error", (error) => {
    failed = true;
    complain(error);
  });
  return {
    async write(bytes) {
      const recorded = redactor.bytes(bytes);
      responseBytes += recorded.length;
      if (failed) return;
      if (gathering === null) {
        response.cork();
        gathering = setTimeout(writeGathered, GATHERED_MS);
      }
      const hasRoom = response.write(recorded);
      if (response.writableLength >= GATHERED_BYTES) writeGathered();
      if (hasRoom) return;
      await Promise.race([new Promise<void>((resolve) => response.once("drain", () => resolve())), closed]);
    },
    sizes: () => ({ requestBytes: request.length, responseBytes }),
    async finish() {
      writeGathered();
      response.end();
      await Promise.all([requestWritten, closed]);
      if (redactor.hasSecrets && !failed) await hidePieces(fileOf("response"), redactor).catch(complain);
    },
  };
}
