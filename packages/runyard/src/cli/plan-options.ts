import { type CreateRunRequest, MAX_PLAN_TIMEOUT_MS, PLAN_TIMEOUT_ACTIONS, type PlanTimeoutAction } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError, EXIT } from "./exit-codes.ts";

/** What the options of `run` say of plans. */
export interface PlanOptions {
  readonly plan?: boolean;
  readonly strictPlan?: boolean;
  /** In seconds. */
  readonly planTimeout?: number;
  readonly onPlanTimeout?: PlanTimeoutAction;
}

export const planOption = (): Option => new Option("--plan", "make a plan first, about which you decide before anything is changed");
export const noPlanOption = (): Option => new Option("--no-plan", "make none, whatever the repository or the organization says");

export function addPlanOptions(command: Command): Command {
  return command
    .addOption(planOption())
    .addOption(noPlanOption())
    .option("--strict-plan", "fail when the agent changes files while it is only to plan (default: they are dropped)")
    .option("--plan-timeout <seconds>", "how long the plan waits for a decision; 0: not at all (default: for ever)", parseTimeout)
    .addOption(new Option("--on-plan-timeout <what>", "what happens to the plan then (default: reject)").choices(PLAN_TIMEOUT_ACTIONS));
}

/** The part of a request that these options make. */
export function planRequest(options: PlanOptions): Pick<CreateRunRequest, "plan" | "settings"> {
  const { plan, strictPlan, planTimeout, onPlanTimeout } = options;
  const settings = {
    ...(strictPlan === undefined ? {} : { strictPlan }),
    ...(planTimeout === undefined ? {} : { planTimeout: Math.round(planTimeout * 1000) }),
    ...(onPlanTimeout === undefined ? {} : { onPlanTimeout }),
  };
  if (plan === false && Object.keys(settings).length > 0)
    throw new CliError("--no-plan makes no plan that could be decided about.", {
      advice: "Leave it out, or the other options for plans.",
      exitCode: EXIT.usage,
    });
  if (onPlanTimeout !== undefined && planTimeout === undefined)
    throw new CliError("--on-plan-timeout alone never happens.", {
      advice: "Say how long the plan waits, for example --plan-timeout 600.",
      exitCode: EXIT.usage,
    });
  return { ...(plan === undefined ? {} : { plan }), settings };
}

function parseTimeout(value: string): number {
  const seconds = Number(value);
  const most = MAX_PLAN_TIMEOUT_MS / 1000;
  if (value.trim() === "" || !Number.isFinite(seconds) || seconds < 0 || seconds > most)
    throw new InvalidArgumentError(`It must be a number of seconds from 0 to ${most}.`);
  return seconds;
}
