import { toLogEntry } from "../contract/log-entries.ts";
import type { RunMetrics } from "../contract/metrics.ts";
import type { FileList, LogEntry, LogPage, RunDiff } from "../contract/results.ts";
import type { RunUsage } from "../contract/usage.ts";
import { checked } from "./answers.ts";
import { download, type DownloadOptions } from "./download.ts";
import { isKnownEvent, streamEvents } from "./event-stream.ts";
import { pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

export interface LogsOptions {
  /** Begin behind this `seq`; default 0: from the beginning on. */
  readonly after?: number;
  /** Stay until the run's turn ends, for what is still to come; default: end with what there is now. */
  readonly follow?: boolean;
  /** Ends it; the loop then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Of which repository a change is asked for. */
export interface ChangeOptions extends RequestOptions {
  /** The name of a further repository of the run; default: its first one. */
  readonly repository?: string;
}

/** What a run said, did and made, as `client.runs` has it. */
export interface RunResults {
  /**
   * What was said and done in a run, in order: whole messages and finished tools, without the pieces
   * they came in.
   *
   * @example
   * ```ts
   * for await (const entry of client.runs.logs(run.id, { follow: true })) console.log(entry.source, entry.message);
   * ```
   */
  logs(id: string, options?: LogsOptions): AsyncGenerator<LogEntry, void>;

  /** The files that a run changed; none when it changed nothing (yet). */
  files(id: string, options?: ChangeOptions): Promise<FileList>;

  /**
   * A file as the run left it, changed or not; of a symbolic link the path that it points to.
   *
   * @param path from the top of the repository, for example `src/index.ts`
   */
  file(id: string, path: string, options?: ChangeOptions): Promise<Uint8Array>;

  /** What a run changed, file by file, with the hunks as text. Long changes are cut: `patch` has all of it. */
  diff(id: string, options?: ChangeOptions): Promise<RunDiff>;

  /** What a run changed, as `git diff` writes it; empty when it changed nothing. */
  patch(id: string, options?: ChangeOptions): Promise<string>;

  /** The same byte for byte, for `git apply`: files need not be UTF-8. */
  patchBytes(id: string, options?: ChangeOptions): Promise<Uint8Array>;

  /**
   * The same piece by piece, for changes that may be large. It is not tried again after an error; one that breaks off throws.
   *
   * @example
   * ```ts
   * for await (const piece of client.runs.patchStream(run.id)) process.stdout.write(piece);
   * ```
   */
  patchStream(id: string, options?: DownloadOptions & Pick<ChangeOptions, "repository">): AsyncGenerator<Uint8Array, void>;

  /**
   * The commits that a run made as a git bundle with one branch, piece by piece: the very same objects. It has no
   * commit that the run started from. It is not tried again after an error; one that breaks off throws. A run that
   * changed nothing (yet) is the error `no_result`.
   *
   * @example
   * ```ts
   * for await (const piece of client.runs.bundle(run.id)) file.write(piece);
   * ```
   */
  bundle(id: string, options?: DownloadOptions & Pick<ChangeOptions, "repository">): AsyncGenerator<Uint8Array, void>;

  /**
   * What a run's model calls used and cost: together, by turn, by model, and one by one.
   *
   * @example
   * ```ts
   * const { total, calls } = await client.runs.usage(run.id);
   * console.log(total.costUsd, total.unpricedCalls, calls.length);
   * ```
   */
  usage(id: string, options?: RequestOptions): Promise<RunUsage>;

  /**
   * What a run used of its machine, sample by sample, with totals and peaks: processor time in milliseconds, memory
   * and disk in bytes, processes and threads. What was not measured is null.
   *
   * @example
   * ```ts
   * const { data, totals, peaks } = await client.runs.metrics(run.id);
   * console.log(totals.cpuMs, peaks.memoryBytes, data.at(-1)?.processes);
   * ```
   */
  metrics(id: string, options?: RequestOptions): Promise<RunMetrics>;
}

const JSON_TYPE = "application/json";

function get(path: string, accept: string): ApiRequest {
  return { method: "GET", path, accept, repeatable: true };
}

function changeIn(request: ApiRequest, { repository }: ChangeOptions = {}): ApiRequest {
  return repository === undefined ? request : { ...request, query: { repository } };
}

export function createResults(transport: Transport, idleMs: number): RunResults {
  return {
    logs: (id, options = {}) =>
      options.follow === true ? liveLogs(transport, idleMs, { ...options, id }) : allLogs(transport, id, options),
    files: async (id, options) =>
      checked(await transport.json(changeIn(get(pathOf("runFiles", { id }), JSON_TYPE), options), options), { data: "array" }) as FileList,
    file: async (id, path, options) =>
      transport.bytes(changeIn(get(pathOf("runFile", { id, path }), "application/octet-stream"), options), options),
    diff: async (id, options) => {
      const answer = await transport.json(changeIn(get(pathOf("runDiff", { id }), JSON_TYPE), options), options);
      return checked(answer, { baseCommit: "string", files: "array" }) as RunDiff;
    },
    patch: async (id, options) => transport.text(changeIn(get(pathOf("runPatch", { id }), "text/x-diff"), options), options),
    patchBytes: async (id, options) => transport.bytes(changeIn(get(pathOf("runPatch", { id }), "text/x-diff"), options), options),
    patchStream: (id, options) => download(transport, changeIn(get(pathOf("runPatch", { id }), "text/x-diff"), options), options),
    bundle: (id, options) => download(transport, changeIn(get(pathOf("runBundle", { id }), "application/x-git-bundle"), options), options),
    usage: async (id, options) =>
      checked(await transport.json(get(pathOf("runUsage", { id }), JSON_TYPE), options), { total: "object", calls: "array" }) as RunUsage,
    metrics: async (id, options) => {
      const answer = await transport.json(get(pathOf("runMetrics", { id }), JSON_TYPE), options);
      return checked(answer, { data: "array", totals: "object", peaks: "object" }) as RunMetrics;
    },
  };
}

async function* allLogs(transport: Transport, id: string, options: LogsOptions): AsyncGenerator<LogEntry, void> {
  const { signal } = options;
  const path = pathOf("runLogs", { id });
  for (let after = options.after ?? 0; ;) {
    const answer = await transport.json({ ...get(path, JSON_TYPE), query: { after } }, signal === undefined ? {} : { signal });
    const page = checked(answer, { data: "array", has_more: "boolean", next_after: "number" }) as LogPage;
    yield* page.data;
    if (!page.has_more || page.next_after <= after) return;
    after = page.next_after;
  }
}

async function* liveLogs(
  transport: Transport,
  idleMs: number,
  options: LogsOptions & { readonly id: string },
): AsyncGenerator<LogEntry, void> {
  const { id, after = 0, signal } = options;
  const target = { path: pathOf("runEvents", { id }), idleMs, after, ...(signal === undefined ? {} : { signal }) };
  for await (const event of streamEvents(transport, target)) {
    const entry = isKnownEvent(event) ? toLogEntry(event) : null;
    if (entry !== null) yield entry;
  }
}
