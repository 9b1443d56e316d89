import { createHash } from "node:crypto";
import { type IsolationFloor, isTerminal, type NewEvent, RunyardError } from "@runyard/sdk/contract";
import { whyNotGranted } from "../core/limits.ts";
import { NO_USAGE } from "../core/usage.ts";
import { attemptSettings } from "../store/attempts-shown.ts";
import { readRunDefaults } from "../store/run-defaults.ts";
import { createRunOnce } from "../store/creating.ts";
import { turnEnd } from "../store/replays.ts";
import type { RunRow } from "../store/run-row.ts";
import { requireFloor } from "./bounds.ts";
import { runToReplay } from "./creating.ts";
import type { EngineOptions } from "./engine.ts";
import type { Principal } from "./identity.ts";
import { newId } from "./ids.ts";
import { notHere, recordedElsewhere } from "./recordings.ts";

/** The turn that is replayed: those behind it go on from a workspace and a conversation that a new run does not have. */
const TURN = 1;

/**
 * Makes a run that does again what another one did, answered from that one's recording. Throws RunyardError
 * `run_not_ended`, `not_for_replays`, `nothing_recorded`, `recording_not_here`, `sandbox_not_available`, `below_isolation_floor` and `rate_limited`.
 */
export async function createReplay(
  options: EngineOptions,
  principal: Principal,
  { recorded, events }: { readonly recorded: RunRow; readonly events: readonly NewEvent[] },
): Promise<RunRow> {
  const { db, recordings } = options;
  const ended = isTerminal(recorded.status) ? await turnEnd(db, { run: recorded, turn: TURN }) : undefined;
  if (ended === undefined)
    throw new RunyardError("run_not_ended", `Run ${recorded.id} is ${recorded.status}: it can be replayed once it has ended.`);
  const elsewhere = recordedElsewhere(recorded, recordings?.runnerId ?? null);
  if (recordings === null || elsewhere.length > 0) throw elsewhere.length > 0 ? notHere(recorded.id, elsewhere) : nothing(recorded.id);
  requireNothingOutside(recorded);
  const exchanges = await recordings.count(recorded.id, TURN);
  if (exchanges === 0) throw nothing(recorded.id);
  const isolationFloor = await requireSandbox(options, recorded);
  // It publishes nothing, so there is nothing to be checked.
  const { checks: _, ...spec } = recorded.spec;

  const created = await createRunOnce(
    db,
    {
      id: newId("run"),
      orgId: principal.orgId,
      userId: principal.userId,
      repositoryId: newId("repo"),
      task: recorded.task,
      repositoryUrl: recorded.repository_url,
      branch: recorded.branch,
      baseCommit: recorded.base_commit,
      spec: { ...spec, isolationFloor },
      agentId: recorded.agent_id,
      simulated: recorded.simulated,
      usage: NO_USAGE,
      status: "pending",
      error: null,
      events,
      replay: {
        of: recorded.id,
        turn: TURN,
        turns: recorded.turn,
        exchanges,
        ended,
        divergence: null,
        refused: null,
        sameResult: null,
      },
      // Nobody else has the recording.
      onlyRunner: recordings.runnerId,
    },
    { orgId: principal.orgId, tokenId: principal.tokenId, key: null, bodyHash: createHash("sha256").update(recorded.id).digest() },
  );
  runToReplay(created);
  if (created.run === undefined) throw new Error("A create that was admitted stored no run");
  return created.run;
}

function nothing(runId: string): RunyardError {
  return new RunyardError(
    "nothing_recorded",
    `No model call of the first turn of run ${runId} is recorded, so there is nothing to replay.`,
  );
}

/** What a server outside answered is not recorded, and asking it again could do again what it did. */
function requireNothingOutside({ id, spec }: RunRow): void {
  const remote = (spec.mcpServers ?? []).flatMap(({ name, url }) => (url === undefined ? [] : [name]));
  if (remote.length > 0)
    throw new RunyardError(
      "not_for_replays",
      `Run ${id} had MCP servers over HTTP (${remote.join(", ")}), which a replay must not ask again, and what they answered is not recorded.`,
    );
}

/** Throws where the recorded run's sandbox cannot be had, or would not keep the floor that holds by now, which comes back. */
async function requireSandbox(options: EngineOptions, { org_id: orgId, repository_url: url, spec }: RunRow): Promise<IsolationFloor> {
  const { sandboxDriver: driver } = spec;
  const sandbox = await options.probeSandbox(driver);
  const why = sandbox.available
    ? whyNotGranted(attemptSettings({ spec }).sandboxType, options.hostMemoryBytes())
    : (sandbox.reason ?? `The sandbox driver ${driver} cannot be used here.`);
  if (why !== null) throw new RunyardError("sandbox_not_available", why);
  const { bounds } = await readRunDefaults(options.db, orgId, url);
  return requireFloor(bounds, { driver, sandbox, run: spec.isolationFloor });
}
