import { EGRESS_PRESETS, egressPatternSchema, ISOLATION_FLOORS, type IsolationFloor } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";
import { checkedOption, givenBefore } from "./option-value.ts";

/** What the options say of hosts to reach; false: none any more. */
export interface EgressOptions {
  readonly egress?: string[] | false;
}

/** `whose` is what the sandboxes are those of. */
export const floorOption = (whose: string): Option =>
  new Option(
    "--isolation-floor <floor>",
    `what ${whose} must keep, or it is refused: sandbox (files and network), strict (all, limits too), none`,
  ).choices(ISOLATION_FLOORS);

export const egressOption = (whose: string): Option =>
  new Option(
    "--egress <hosts>",
    `hosts that programs in ${whose} may reach, with commas: api.example.com, *.example.com, or ${Object.keys(EGRESS_PRESETS).join(", ")}; may be repeated`,
  ).argParser(collectHosts);

/** Adds `--egress` and what takes it away. */
export function addEgressOptions(command: Command, whose: string): Command {
  return command.addOption(egressOption(whose)).option("--no-egress", "no such hosts");
}

/** Adds what an organization says of all of its runs. */
export function addOrganizationBounds(command: Command): Command {
  return addEgressOptions(command, "the sandbox of each run")
    .addOption(
      new Option(
        "--egress-allowed <hosts>",
        'the only hosts that runs may be given, whoever gives them; "none": no host; may be repeated',
      ).argParser(collectAllowed),
    )
    .option("--no-egress-allowed", "runs may be given any")
    .addOption(floorOption("the sandbox of each run"))
    .option("--no-isolation-floor", "sandbox, but for runs for which the driver process was chosen");
}

/** What these options say; false: nothing any more. */
export interface OrganizationBounds extends EgressOptions {
  readonly egressAllowed?: string[] | false;
  readonly isolationFloor?: IsolationFloor | false;
}

/** The part of a change of a repository or an organization that these options make. */
export function egressRequest({ egress }: EgressOptions): { egress?: string[] } {
  return egress === undefined ? {} : { egress: egress === false ? [] : egress };
}

export function boundsRequest(options: OrganizationBounds): {
  egress?: string[];
  egressAllowed?: string[] | null;
  isolationFloor?: IsolationFloor | null;
} {
  const { egressAllowed, isolationFloor } = options;
  return {
    ...egressRequest(options),
    ...(egressAllowed !== undefined && { egressAllowed: egressAllowed === false ? null : egressAllowed }),
    ...(isolationFloor !== undefined && { isolationFloor: isolationFloor === false ? null : isolationFloor }),
  };
}

function collectHosts(list: string, before?: unknown): string[] {
  const hosts = list.split(",").map((host) => checkedOption(egressPatternSchema, host.trim()));
  return [...givenBefore<string>(before), ...hosts];
}

function collectAllowed(list: string, before?: unknown): string[] {
  return list === "none" ? collectNothing(before) : collectHosts(list, before);
}

function collectNothing(before: unknown): string[] {
  if (givenBefore(before).length === 0) return [];
  throw new InvalidArgumentError('"none" stands for itself: leave out the other hosts.');
}
