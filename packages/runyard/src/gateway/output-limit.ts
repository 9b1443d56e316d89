import { configOf } from "./gemini.ts";
import { Refusal } from "./refusal.ts";
import { isObject, type JsonObject, parseJson, type PreparedRequest, type WireFormat } from "./wire-format.ts";

type Limited = Pick<WireFormat, "outputLimit">;

/** The longest answer that a client asked for, in tokens; null: it does not say. */
export function outputLimitOf({ outputLimit }: Limited, body: Buffer): number | null {
  const value = outputLimit.read(bodyOf(body));
  return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : null;
}

/** The body of the same request, with no longer answer than this. */
export function withOutputLimit(
  { outputLimit }: Limited,
  { body, provider }: Pick<PreparedRequest, "body" | "provider">,
  limit: number,
): Buffer {
  return Buffer.from(JSON.stringify(outputLimit.write(bodyOf(body), limit, provider)));
}

/** Refuses what makes an answer cost more than its limit says. */
export function refuseUnlimited(body: Buffer): void {
  const request = bodyOf(body);
  const several = [request["n"], configOf(request)["candidateCount"]].some((count) => typeof count === "number" && count > 1);
  const name = several ? "more than one answer" : request["prediction"] === undefined ? null : '"prediction"';
  const tier = request["service_tier"];
  const what = name ?? (tier === "priority" ? 'the service tier "priority"' : null);
  if (what === null) return;
  throw new Refusal(400, "not_bounded", { message: `This run has a budget, which ${what} could pass: ask without it.` });
}

function bodyOf(bytes: Buffer): JsonObject {
  const value = parseJson(bytes);
  return isObject(value) ? value : {};
}
