import { type FakeRoute, Refusal } from "./github.ts";

/** A check run as the fake keeps it. */
export interface FakeCheckRun {
  readonly id: number;
  readonly name: string;
  readonly commit: string;
  readonly suite?: number;
  /** Default: `github-actions`. */
  readonly app?: string;
  status: "queued" | "in_progress" | "completed" | "waiting";
  conclusion: string | null;
  readonly title?: string;
  readonly summary?: string;
  readonly annotations?: readonly { readonly path: string; readonly line: number; readonly level: string; readonly message: string }[];
  /** Whether there is a log of its job. */
  readonly hasLog?: boolean;
}

export interface FakeStatus {
  readonly id: number;
  readonly context: string;
  readonly commit: string;
  readonly state: "error" | "failure" | "pending" | "success";
  readonly description?: string;
}

export interface FakeChecks {
  readonly runs: FakeCheckRun[];
  readonly statuses: FakeStatus[];
  readonly routes: readonly FakeRoute[];
}

/** What GitHub documents of pages: how many, from which. */
function pageOf<T>(all: readonly T[], query: URLSearchParams): T[] {
  const size = Number(query.get("per_page") ?? 30);
  const page = Number(query.get("page") ?? 1);
  if (!(size >= 1 && size <= 100 && page >= 1)) throw new Refusal(422, "Unexpected page");
  return all.slice((page - 1) * size, page * size);
}

export interface FakeChecksOptions {
  readonly logsUrl?: string;
  /** The check runs of a commit that nobody has asked for before; default: none. */
  readonly judge?: (commit: string) => readonly Omit<FakeCheckRun, "commit" | "id">[];
}

/** The part of the fake that tells of the checks of commits. `logsUrl` is where it sends whoever asks for the log of a job. */
export function fakeChecks({ logsUrl = "http://127.0.0.1:1", judge }: FakeChecksOptions = {}): FakeChecks {
  const runs: FakeCheckRun[] = [];
  const statuses: FakeStatus[] = [];
  const judged = new Set<string>();
  const find = (id: string | undefined): FakeCheckRun => {
    const run = runs.find((one) => one.id === Number(id));
    if (run === undefined) throw new Refusal(404, "Not Found");
    return run;
  };
  const routes: FakeRoute[] = [
    [
      /^GET \/commits\/([0-9a-f]{40})\/check-runs$/,
      ([, commit = ""], query) => {
        if (!judged.has(commit)) for (const run of judge?.(commit) ?? []) runs.push({ id: runs.length + 1, commit, ...run });
        judged.add(commit);
        const all = runs.filter((run) => run.commit === commit);
        const shown = pageOf(all, query).map((run) => ({
          id: run.id,
          name: run.name,
          head_sha: run.commit,
          status: run.status,
          conclusion: run.conclusion,
          html_url: `https://github.example/acme/app/runs/${run.id}`,
          details_url: "https://ci.example",
          check_suite: { id: run.suite ?? 1 },
          app: { slug: run.app ?? "github-actions" },
          output: { title: run.title ?? null, summary: run.summary ?? null, text: null, annotations_count: run.annotations?.length ?? 0 },
        }));
        return { status: 200, data: { total_count: all.length, check_runs: shown } };
      },
    ],
    [
      /^GET \/commits\/([0-9a-f]{40})\/status$/,
      ([, commit], query) => {
        const all = statuses.filter((status) => status.commit === commit);
        const shown = pageOf(all, query).map(({ id, context, state, description = null }) => {
          return { id, context, state, description, target_url: `https://ci.example/${id}` };
        });
        return { status: 200, data: { state: "pending", sha: commit, total_count: all.length, statuses: shown } };
      },
    ],
    [
      /^GET \/check-runs\/(\d+)\/annotations$/,
      ([, id], query) => {
        const shown = pageOf(find(id).annotations ?? [], query).map(({ path, line, level, message }) => {
          return { path, start_line: line, end_line: line, annotation_level: level, message, title: null };
        });
        return { status: 200, data: shown };
      },
    ],
    [
      /^GET \/actions\/jobs\/(\d+)\/logs$/,
      ([, id]) => {
        if (find(id).hasLog !== true) throw new Refusal(404, "Not Found");
        return { status: 302, data: null, headers: { location: `${logsUrl}/${id}` } };
      },
    ],
  ];
  return { runs, statuses, routes };
}
