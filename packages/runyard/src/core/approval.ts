import { type Approval, type Estimate, money } from "@runyard/sdk/contract";

/** The lowest of the limits that somebody has set, in US dollars; null: nobody has. */
export function lowestLimit(limits: readonly (number | null | undefined)[]): number | null {
  const set = limits.filter((limit) => limit !== null && limit !== undefined);
  return set.length === 0 ? null : Math.min(...set);
}

/** Whether a turn of this estimate waits for a person: it is above the limit, or nobody knows what it costs. */
export function needsApproval({ cost }: Estimate, aboveUsd: number): boolean {
  return cost === null || cost > aboveUsd;
}

/** Why it waits, in words: "It may cost about $8.10, and above $5.00 a person decides". */
export function approvalTitle({ estimate: { cost }, aboveUsd }: Approval): string {
  const why = cost === null ? "Nobody knows what it costs" : `It may cost about ${money(cost)}`;
  return `${why}, and above ${money(aboveUsd)} a person decides`;
}
