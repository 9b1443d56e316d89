import { InvalidArgumentError } from "commander";
import type { z } from "zod";

/** The value of an option as the contract has it. Throws what is wrong with it, which the server would say in other words. */
export function checkedOption<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(`It ${parsed.error.issues[0]?.message ?? "cannot be one"}.`);
}

/** What an option that may be repeated was given so far. Behind the one that takes it away (`--no-…`), commander hands over `false`. */
export function givenBefore<T>(before: unknown): T[] {
  return Array.isArray(before) ? (before as T[]) : [];
}
