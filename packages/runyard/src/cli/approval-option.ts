import { InvalidArgumentError, Option } from "commander";

export const approvalOption = (whose: string): Option =>
  new Option(
    "--approval-above <dollars>",
    `${whose} a person before it begins, where it is estimated to cost more, or nobody knows what it costs; 0: whatever costs anything`,
  ).argParser(parseLimit);

/** A number of dollars, 0 included. */
function parseLimit(value: string): number {
  const dollars = /^\d*\.?\d+$/.test(value) ? Number(value) : -1;
  if (dollars < 0 || dollars > 1_000_000)
    throw new InvalidArgumentError("It must be a number of US dollars from 0 to 1000000, for example 5.");
  return dollars;
}
