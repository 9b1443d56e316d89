import type { createRunSchema, Estimate } from "@runyard/sdk/contract";
import type { z } from "zod";
import { estimateByRuns, estimateByTask, expectedCalls } from "../core/estimate.ts";
import { pastRuns } from "../store/past-runs.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";

/** What a run would cost. Throws RunyardError `repository_not_usable`. */
export async function estimateRun(
  options: EngineOptions,
  asked: {
    readonly principal: Principal;
    readonly input: z.output<typeof createRunSchema>;
    readonly profile: string;
    readonly model: string | null;
    /** False: a subscription pays, and nobody knows how much. */
    readonly isPriced: boolean;
  },
): Promise<Estimate> {
  const { principal, input, profile, model, isPriced } = asked;
  const { root } = await options.inspectRepository(input.repositoryUrl, input.branch);
  // A scripted model costs nothing, whatever it answers.
  if (options.model().simulated) return estimateByTask(0);
  if (!isPriced) return estimateByTask(null);
  const before = estimateByRuns(await pastRuns(options.db, { orgId: principal.orgId, repositoryUrl: root, profile, model }));
  return before ?? estimateByTask(await options.costOf(model, expectedCalls(input.task.length)));
}
