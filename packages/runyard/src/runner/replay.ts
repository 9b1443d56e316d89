import type { Divergence, NewEvent, RunStatus } from "@runyard/sdk/contract";
import type { RunFact } from "../core/run-machine.ts";
import { isSameResult, missingCall, refusalWords } from "../core/replay.ts";
import type { DivergenceLine } from "../gateway/exchange-journal.ts";
import { treeOf } from "../git/publish.ts";
import type { RunRow } from "../store/run-row.ts";
import { cachePathOf } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";

/**
 * Notes what the gateway found out about a replay, and gives the event that tells of the first difference. Stored
 * before the event, and known by its exchange: so it is told once, also by a server that takes over in between.
 */
export async function noteDivergences(handle: RunHandle, lines: readonly DivergenceLine[]): Promise<NewEvent[]> {
  const { replay } = handle.row;
  const [first] = lines;
  if (replay === null || first === undefined) return [];
  const divergence = replay.divergence ?? plain(first);
  const refusing = lines.find(({ kind }) => kind === "extra-call" || kind === "not-recorded");
  const refused = replay.refused ?? (refusing === undefined ? null : plain(refusing));
  await handle.noteReplay({ ...replay, divergence, refused });
  return lines.some(({ exchangeId }) => exchangeId === divergence.exchangeId) ? [{ type: "replay.diverged", data: divergence }] : [];
}

function plain({ kind, exchange, exchangeId, path, recorded, replayed }: DivergenceLine): Divergence {
  return { kind, exchange, exchangeId, path, recorded, replayed };
}

/** Throws RunFailure where a replay asked for what its recording does not have: whatever its agent made of that, it is no success. */
export function requireAnswers({ replay }: Pick<RunRow, "replay">): void {
  if (replay?.refused) throw new RunFailure({ type: "replay-diverged", message: refusalWords(replay.refused) });
}

/** Notes how a replay ended, and gives the event that tells of it where fewer calls were made than recorded. */
export async function concludeReplay(
  ctx: Pick<RunnerContext, "git">,
  handle: RunHandle,
  end: { readonly status: RunStatus; readonly head: string | null },
): Promise<NewEvent[]> {
  const { row } = handle;
  const { replay } = row;
  if (replay === null) return [];
  const missing = missingCall(replay.exchanges, row.usage.modelCalls);
  // One that was noted before its event could be committed is noted again.
  const isNews = missing !== null && (replay.divergence === null || replay.divergence.kind === "missing-call");
  const divergence = isNews ? missing : replay.divergence;
  const sameResult = isSameResult(
    { status: replay.ended.status, tree: await treeAt(ctx, row, { status: end.status, head: replay.ended.commit }) },
    { status: end.status, tree: await treeAt(ctx, row, end) },
  );
  await handle.noteReplay({ ...replay, divergence, sameResult });
  return isNews ? [{ type: "replay.diverged", data: missing }] : [];
}

/** The same for a replay that did not complete. One that somebody cancelled could have gone on, so nothing is missing. */
export async function concludeBroken(ctx: Pick<RunnerContext, "git">, handle: RunHandle, fact: RunFact): Promise<NewEvent[]> {
  const status = fact.type === "broke" ? "failed" : "timeout";
  return fact.type === "cancelled" ? [] : concludeReplay(ctx, handle, { status, head: null });
}

/** The files that a turn left; null where it did not complete, or its commit is nowhere. */
async function treeAt(
  { git }: Pick<RunnerContext, "git">,
  row: RunRow,
  { status, head }: { readonly status: RunStatus; readonly head: string | null },
): Promise<string | null> {
  return status === "completed" ? treeOf(git, { cachePath: cachePathOf(row), commit: head ?? row.base_commit }) : null;
}
