import { isTerminal, type OpenedShell, type openShellSchema, RunyardError, type WorkspaceList } from "@runyard/sdk/contract";
import type { z } from "zod";
import { personOf } from "../store/answer-permission.ts";
import { appendEvent } from "../store/append-event.ts";
import type { RunRow } from "../store/run-row.ts";
import type { StoredRun } from "../store/runs.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";

export type ShellWish = z.output<typeof openShellSchema>;

/** Bytes that are read as they are taken. Whoever gets them takes at least one piece, or their files stay open. */
export interface WorkspaceBytes {
  /** Null: nobody knows before the end. */
  readonly size: number | null;
  /** Throws where they cannot be read to the end. */
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

/** The workspaces that this server's machine keeps; main wires it. Null where a run has none here. */
export interface WorkspaceHost {
  readonly runnerId: string;
  /** Throws RunyardError `sandbox_not_available`. */
  openShell(run: RunRow, wish: ShellWish): Promise<OpenedShell | null>;
  /** Names from the top; none: the top. Throws RunyardError `file_not_found`, like the next two, which throw `file_too_large` and `file_not_readable` too. */
  list(run: RunRow, path: readonly string[]): Promise<WorkspaceList | null>;
  file(run: RunRow, path: readonly string[]): Promise<WorkspaceBytes | null>;
  archive(run: RunRow, path: readonly string[]): Promise<WorkspaceBytes | null>;
}

/** What people do with the workspaces of runs. */
export function createWorkspaces(options: EngineOptions, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  const { db, wakes } = options;

  /** What `use` finds in the workspace of a run. Throws where it is on another machine, or nowhere. */
  async function inWorkspace<T>(
    principal: Principal,
    runId: string,
    use: (host: WorkspaceHost, run: RunRow) => Promise<T | null>,
  ): Promise<T> {
    const { run } = await load(principal.orgId, runId);
    const host = options.workspaces();
    if (run.attempt === 0) throw notKept(run);
    if (host === null || run.runner_id !== host.runnerId) throw notHere(run);
    const found = await use(host, run);
    if (found === null) throw notKept(run);
    return found;
  }

  return {
    /** Prepares a shell in a run's sandbox, and tells the run's log who did. */
    async openShell(principal: Principal, runId: string, wish: ShellWish): Promise<OpenedShell> {
      const opened = await inWorkspace(principal, runId, (host, run) => host.openShell(run, wish));
      const { orgId } = principal;
      const person = await personOf(db, principal);
      const data = { ...person, terminal: wish.terminal !== undefined, withSecrets: wish.withSecrets };
      if (!(await appendEvent(db, { orgId, runId, event: { type: "shell.opened", data } })))
        throw new RunyardError("run_not_found", `There is no run ${runId}.`);
      wakes.notify(runId);
      return opened;
    },

    /** What a folder of a run's workspace holds, as it is now. `path`: from the top, with slashes; empty: the top. */
    workspace(principal: Principal, runId: string, path: string): Promise<WorkspaceList> {
      return inWorkspace(principal, runId, (host, run) => host.list(run, namesOf(path)));
    },

    /** A file of a run's workspace as it is now, whatever git thinks of it. */
    workspaceFile(principal: Principal, runId: string, path: string): Promise<WorkspaceBytes> {
      return inWorkspace(principal, runId, (host, run) => host.file(run, namesOf(path)));
    },

    /** A folder of it, as a tar archive. */
    workspaceArchive(principal: Principal, runId: string, path: string): Promise<WorkspaceBytes> {
      return inWorkspace(principal, runId, (host, run) => host.archive(run, namesOf(path)));
    },
  };
}

function namesOf(path: string): string[] {
  return path === "" ? [] : path.split("/");
}

function notKept(run: RunRow): RunyardError {
  const why = isTerminal(run.status)
    ? "it never had one, or it has been removed: those of ended runs are kept for some days (`runyard up --keep-workspaces`, --disk-budget). What the run changed is in its branch"
    : "it is not made yet, or is being moved to the next attempt. Try again once the run is at work";
  return new RunyardError("workspace_not_kept", `Run ${run.id} (${run.status}) has no workspace: ${why}.`);
}

function notHere(run: RunRow): RunyardError {
  return new RunyardError(
    "workspace_not_here",
    `The workspace of run ${run.id} is on the machine of ${run.runner_id ?? "another runner"}, and this server cannot reach it: ask the server there.`,
  );
}
