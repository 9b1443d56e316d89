import type { RunRow } from "./run-row.ts";

/**
 * The newest commit that a run has made, in its first repository or a further one, whether anybody was given it or not: the one
 * of its last attempt, which has no result where it broke behind its commit, else that of the turns before; null: there is none.
 */
export function newestCommit({ state, carry }: Pick<RunRow, "state" | "carry">, repository?: string): string | null {
  interface Made {
    readonly made?: { readonly head?: string | null };
  }
  const stored = state as Made & { readonly repositories?: Readonly<Record<string, Made>> };
  const before = repository === undefined ? carry : carry?.repositories?.[repository];
  const made = repository === undefined ? stored.made : stored.repositories?.[repository]?.made;
  return made?.head ?? before?.head ?? before?.published?.commit ?? null;
}
