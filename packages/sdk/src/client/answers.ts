import type { Run } from "../contract/run.ts";
import { RunyardApiError } from "./errors.ts";

type FieldType = "string" | "boolean" | "number" | "array" | "object";

/**
 * The answer itself, where it has the fields that the rest hangs on; throws where it is not Runyard's.
 * Only those are looked at: newer servers may send more fields and values, and they stay.
 */
export function checked(value: unknown, fields: Readonly<Record<string, FieldType>>): unknown {
  const fits =
    typeof value === "object" &&
    value !== null &&
    Object.entries(fields).every(([name, type]) => typeOf((value as Record<string, unknown>)[name]) === type);
  if (!fits) throw notRunyard();
  return value;
}

function typeOf(value: unknown): string {
  return Array.isArray(value) ? "array" : typeof value;
}

function notRunyard(): RunyardApiError {
  return new RunyardApiError({
    status: 200,
    message: "The answer does not have the shape of Runyard's: another program or a proxy may stand at this address.",
  });
}

export function asRun(value: unknown): Run {
  return checked(value, { id: "string", status: "string" }) as Run;
}
