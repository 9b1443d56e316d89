import { type IsolationFloor, RunyardError, type SandboxDriverName } from "@runyard/sdk/contract";
import { type EgressFrom, type EgressGiven, joinEgress, whyNotAllowed } from "../core/egress-bounds.ts";
import { floorInForce, type KeptLimits, whyBelowFloor } from "../core/isolation-floor.ts";
import type { Bounds } from "../store/run-defaults.ts";
import type { SandboxState } from "./engine.ts";

/** Limits count as kept by a runner of an earlier version, which does not tell: it says itself before it begins. */
const ALL: KeptLimits = { memory: true, cpus: true, pids: true };

interface SandboxAsked {
  readonly driver: SandboxDriverName;
  readonly sandbox: Pick<SandboxState, "isolation" | "limits">;
}

/** The floor that holds for a run. Throws RunyardError `below_isolation_floor` where its sandbox would not keep it. */
export function requireFloor(
  { isolationFloor: organization }: Pick<Bounds, "isolationFloor">,
  asked: SandboxAsked & { readonly agent?: IsolationFloor | undefined; readonly run: IsolationFloor | undefined },
): IsolationFloor {
  const { driver, sandbox, agent, run } = asked;
  const inForce = floorInForce({ organization, agent, run }, driver);
  const why = whyBelowFloor(inForce, { isolation: sandbox.isolation, limits: sandbox.limits ?? ALL });
  if (why !== null) throw new RunyardError("below_isolation_floor", why);
  return inForce.floor;
}

/** What a run may reach, and who gave it. Throws RunyardError `egress_not_allowed` where the organization does not allow that. */
export function requireEgress(
  { egressAllowed, organizationEgress: organization, repositoryEgress: repository }: Bounds,
  given: Pick<EgressGiven, "agent" | "run">,
  { driver, sandbox }: SandboxAsked,
): EgressFrom {
  const from = joinEgress({ organization, repository, ...given });
  requireAllowed(from, egressAllowed, { driver, sandbox });
  return from;
}

/** Throws RunyardError `egress_not_allowed` where the organization does not allow a run to reach what it was given. */
export function requireAllowed(from: EgressFrom, egressAllowed: readonly string[] | null, { driver, sandbox }: SandboxAsked): void {
  const why =
    egressAllowed !== null && sandbox.isolation.network === "none"
      ? `The organization says which hosts its runs may reach (\`egressAllowed\`), and the sandbox driver ${driver} keeps no run from reaching others. Use the sandbox driver bwrap, or take the setting away: runyard organization --no-egress-allowed`
      : whyNotAllowed(from, egressAllowed);
  if (why !== null) throw new RunyardError("egress_not_allowed", why);
}
