import { type ChangedFile, type FileList, type RunDiff, RunyardError } from "@runyard/sdk/contract";
import { newestCommit } from "../store/made-commit.ts";
import type { StoredRun } from "../store/runs.ts";
import type { Principal } from "./identity.ts";

/** A run's change: two commits of a repository. */
export interface Change {
  readonly runId: string;
  readonly orgId: string;
  readonly repositoryUrl: string;
  readonly base: string;
  readonly head: string;
}

/** Bytes that are read once, and how many they are. */
export interface ResultBytes {
  readonly size: number;
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

/** How changes and files are read from git; main wires it. */
export interface ChangeReader {
  /** The change as a patch, or how large it is where that is too large. */
  patch(change: Change): Promise<ResultBytes | { readonly tooLarge: number }>;
  files(change: Change): Promise<ChangedFile[]>;
  diff(change: Change): Promise<Pick<RunDiff, "files" | "truncated">>;
  /** The commits of a change, or how large they are where that is too large. A branch of this name is in the bundle. */
  bundle(change: Change & { readonly branch: string }): Promise<ResultBytes | { readonly tooLarge: number }>;
  /** The file's bytes, how large it is where that is too large, or null where there is none. */
  file(place: {
    readonly runId: string;
    readonly orgId: string;
    readonly repositoryUrl: string;
    readonly base: string;
    readonly commit: string;
    readonly path: string;
  }): Promise<{ readonly bytes: Uint8Array } | { readonly tooLarge: number } | null>;
}

async function* nothing(): AsyncGenerator<Uint8Array, void> {}

/** What runs made, for the people who may see them. */
export function createResults(changes: ChangeReader, load: (orgId: string, runId: string) => Promise<StoredRun>) {
  /** Where a change is looked for: in a further repository of the run by its name, else in its first one. */
  const placeOf = ({ run }: StoredRun, name: string | undefined): Omit<Change, "head"> => {
    if (name === undefined) return { runId: run.id, orgId: run.org_id, repositoryUrl: run.repository_url, base: run.base_commit };
    const further = run.spec.repositories ?? [];
    const one = further.find((repository) => repository.name === name);
    if (one !== undefined) return { runId: run.id, orgId: run.org_id, repositoryUrl: one.repositoryUrl, base: one.baseCommit };
    const has =
      further.length === 0 ? "It has none but its first one." : `It has: ${further.map((repository) => repository.name).join(", ")}.`;
    throw new RunyardError("repository_not_found", `Run ${run.id} has no further repository ${name}. ${has}`);
  };
  /** Null while there is no change, and for a run that made none. Until a turn has made its own, that of the turns before, published or not. */
  const changeOf = (stored: StoredRun, name: string | undefined): Change | null => {
    const { result } = stored.run;
    const place = placeOf(stored, name);
    const made = name === undefined ? result : result?.repositories?.find((repository) => repository.name === name);
    const head = made?.headCommit ?? newestCommit(stored.run, name);
    return head ? { ...place, head } : null;
  };
  /** The same against the base that was brought into it last: what came from there is no change of the run's. */
  const ownChange = (stored: StoredRun, name: string | undefined): Change | null => {
    const change = changeOf(stored, name);
    if (change === null || name !== undefined) return change;
    const { result, carry } = stored.run;
    return { ...change, base: (result?.headCommit ? result.baseCommit : carry?.base) ?? change.base };
  };

  return {
    /** The change of a run as a patch; empty when it has none (yet). */
    async patch(principal: Principal, runId: string, repository?: string): Promise<ResultBytes> {
      const change = ownChange(await load(principal.orgId, runId), repository);
      const found = change === null ? { size: 0, bytes: nothing() } : await changes.patch(change);
      if ("bytes" in found) return found;
      throw new RunyardError(
        "file_too_large",
        `The patch of run ${runId} has ${found.tooLarge} bytes, more than the server hands out. Fetch the run's branch with git.`,
      );
    },

    /** The commits of a run's change as a bundle. Throws `no_result` where it has none (yet). */
    async bundle(principal: Principal, runId: string, repository?: string): Promise<ResultBytes> {
      const stored = await load(principal.orgId, runId);
      const change = changeOf(stored, repository);
      if (change === null) {
        const message = `Run ${runId} is ${stored.run.status} and has changed nothing, or not yet. \`result\` of a run says what it made.`;
        throw new RunyardError("no_result", message);
      }
      const { result } = stored.run;
      const made = repository === undefined ? result : result?.repositories?.find(({ name }) => name === repository);
      const found = await changes.bundle({ ...change, branch: made?.headBranch ?? `runyard/${runId}` });
      if ("bytes" in found) return found;
      throw new RunyardError(
        "file_too_large",
        `The commits of run ${runId} have ${found.tooLarge} bytes, more than the server hands out. Fetch the run's branch with git.`,
      );
    },

    async files(principal: Principal, runId: string, repository?: string): Promise<FileList> {
      const change = ownChange(await load(principal.orgId, runId), repository);
      return { data: change === null ? [] : await changes.files(change) };
    },

    async diff(principal: Principal, runId: string, repository?: string): Promise<RunDiff> {
      const stored = await load(principal.orgId, runId);
      const change = ownChange(stored, repository);
      const { files, truncated } = change === null ? { files: [], truncated: false } : await changes.diff(change);
      return { baseCommit: (change ?? placeOf(stored, repository)).base, headCommit: change?.head ?? null, files, truncated };
    },

    /** A file as the run left it; as it began, while it has no change. */
    async file(principal: Principal, runId: string, path: string, repository?: string): Promise<Uint8Array> {
      const stored = await load(principal.orgId, runId);
      const place = placeOf(stored, repository);
      const commit = changeOf(stored, repository)?.head ?? place.base;
      const found = await changes.file({ ...place, commit, path });
      if (found === null) throw new RunyardError("file_not_found", `Run ${runId} has no file ${path}.`);
      if ("bytes" in found) return found.bytes;
      throw new RunyardError(
        "file_too_large",
        `${path} has ${found.tooLarge} bytes, more than the server hands out. Fetch the run's branch with git.`,
      );
    },
  };
}
