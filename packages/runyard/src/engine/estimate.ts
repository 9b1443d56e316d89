import type { Estimate, RunEstimate, RunSettings } from "@runyard/sdk/contract";
import { lowestLimit, needsApproval } from "../core/approval.ts";
import { attemptSettingsOf } from "../core/attempts.ts";
import { estimateByRuns, estimateByTask, expectedCalls } from "../core/estimate.ts";
import { SANDBOX_LIMITS } from "../core/limits.ts";
import { waitsForMemory } from "../core/memory.ts";
import { readRooms } from "../store/memory.ts";
import { pastRuns } from "../store/past-runs.ts";
import type { EngineOptions } from "./engine.ts";

/** What an estimate goes by. */
export interface TurnToEstimate {
  readonly orgId: string;
  /** The repository's root. */
  readonly repositoryUrl: string;
  readonly profile: string;
  readonly model: string | null;
  /** False: a subscription pays, and nobody knows how much. */
  readonly isPriced: boolean;
  /** Its task, or its prompt. */
  readonly prompt: string;
}

/** What a run would cost, and what it would wait for. */
export async function estimateRun(
  options: EngineOptions,
  asked: {
    readonly turn: TurnToEstimate;
    readonly settings: RunSettings;
    /** Above which estimate a person decides, as its organization and its repository have it; null: none. */
    readonly limits: readonly (number | null)[];
  },
): Promise<RunEstimate> {
  const { turn, settings, limits } = asked;
  const estimate = await estimateTurn(options, turn);
  const aboveUsd = lowestLimit([settings.approvalAboveUsd, ...limits]);
  const { memoryBytes } = SANDBOX_LIMITS[attemptSettingsOf(settings).sandboxType];
  const waitsFor: RunEstimate["waitsFor"] = [];
  if (aboveUsd !== null && needsApproval(estimate, aboveUsd)) waitsFor.push("approval");
  if (waitsForMemory({ id: null, memoryBytes }, await readRooms(options.db))) waitsFor.push("memory");
  return { ...estimate, waitsFor };
}

/** What a turn would cost, as if it were the first of its run. */
export async function estimateTurn(options: EngineOptions, turn: TurnToEstimate): Promise<Estimate> {
  // A scripted model costs nothing, whatever it answers.
  if (options.model().simulated) return estimateByTask(0);
  if (!turn.isPriced) return estimateByTask(null);
  const before = estimateByRuns(await pastRuns(options.db, turn));
  return before ?? estimateByTask(await options.costOf(turn.model, expectedCalls(turn.prompt.length)));
}
