import type { RunyardClient } from "@runyard/sdk";
import type { RunEvent } from "@runyard/sdk/contract";
import type { Paint } from "./output.ts";
import { renderDecide } from "./render-plan.ts";

/** Behind a plan that has just been shown: how one decides about it, where it still waits. */
export async function noteOpenPlan(
  client: RunyardClient,
  event: RunEvent,
  options: { readonly paint: Paint; readonly width: number; readonly note: (line: string) => void },
): Promise<void> {
  if (event.type !== "plan.proposed") return;
  const run = await client.runs.get(event.runId);
  if (run.plan?.version !== event.data.version) return;
  for (const line of renderDecide(run, options)) options.note(line);
}
