import { idempotencyKeySchema } from "@runyard/sdk/contract";
import { invalid } from "./validate.ts";

/** The key of a create: the header's or the body's. Both may be given when they are the same. Throws `invalid_request`. */
export function idempotencyKeyOf(headers: Headers, inBody: string | undefined): string | undefined {
  const header = headers.get("idempotency-key");
  if (header === null) return inBody;
  const parsed = idempotencyKeySchema.safeParse(header);
  if (!parsed.success) throw invalid([{ path: "Idempotency-Key", message: parsed.error.issues[0]?.message ?? "is not a key" }]);
  if (inBody !== undefined && inBody !== header) {
    throw invalid([{ path: "idempotencyKey", message: "differs from the header Idempotency-Key: give one of them" }]);
  }
  return header;
}
