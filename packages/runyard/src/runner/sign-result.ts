import { signCommits } from "../git/sign-commits.ts";
import { findSigningKey } from "../store/signing-key.ts";
import type { RunRow } from "../store/run-row.ts";
import { VaultError } from "../store/vault.ts";
import type { RunnerContext } from "./context.ts";
import { RunFailure } from "./run-handle.ts";

/**
 * Signs what a run made in one of its repositories, on the host, where its organization has a key; returns the commit that it is then. It can be repeated: the
 * same commits are signed alike. A replay is compared by what it made itself. Throws RunFailure where the key cannot be read.
 */
export async function signResult(
  ctx: RunnerContext,
  row: RunRow,
  made: {
    readonly head: string | null;
    readonly cachePath: string;
    readonly base: string;
    readonly onto?: string;
    readonly end: AbortSignal;
  },
): Promise<string | null> {
  if (made.head === null || row.replay !== null) return made.head;
  const key = await findSigningKey(ctx.db, ctx.vault, row.org_id).catch((error: unknown) => {
    if (!(error instanceof VaultError)) throw error;
    const message = `The key that signs commits cannot be read: ${error.message}. Nothing was published.`;
    throw new RunFailure({ type: "sandbox-unavailable", message });
  });
  if (key === null) return made.head;
  const { head, cachePath, base, onto, end } = made;
  return signCommits(ctx.git, { cachePath, runId: row.id, base, onto, head, signal: end, sign: (content) => key.sign(content) });
}
